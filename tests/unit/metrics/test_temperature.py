"""Temperatures against a plain grid, and on rows whose temperature is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.metrics.single_label_metrics import expected_calibration_error, row_losses, softmax
from raykd.metrics.temperature import HIGHEST, LOWEST
from raykd.task_kinds import task_kind


def rows_of(logits, seed):
    """Labels drawn from the softmax of the logits, which are calibrated at temperature 1 then."""
    draw = np.random.default_rng(seed).random(len(logits))
    return (softmax(logits).cumsum(axis=1) > draw[:, None]).argmax(axis=1)


@given(scale=st.floats(0.2, 5.0), seed=st.integers(0, 5))
@settings(max_examples=15)
def test_logits_scaled_by_a_factor_are_scaled_back(scale, seed):
    logits = np.random.default_rng(seed).normal(size=(4000, 3))
    labels, kind = rows_of(logits, seed + 1), task_kind("single_label")
    fitted = kind.temperature(labels, scale * logits)
    assert fitted == pytest.approx(scale, rel=0.15)
    grid = np.exp(np.linspace(np.log(LOWEST), np.log(HIGHEST), 400))
    losses = [row_losses(labels, scale * logits / one).mean() for one in grid]
    assert row_losses(labels, scale * logits / fitted).mean() <= min(losses) + 1e-6


def test_a_model_too_sure_is_calibrated_and_its_answers_stay():
    logits = np.random.default_rng(0).normal(size=(6000, 4))
    labels, sure = rows_of(logits, 1), 4 * logits
    fitted = task_kind("single_label").temperature(labels, sure)
    before, after = (expected_calibration_error(labels, one) for one in (sure, sure / fitted))
    assert before > 0.2
    assert after < 0.03
    np.testing.assert_array_equal(sure.argmax(axis=1), (sure / fitted).argmax(axis=1))


def test_many_labels_share_one_temperature():
    draw = np.random.default_rng(3)
    logits = draw.normal(size=(4000, 3)) * 2
    targets = (draw.random(logits.shape) < 1 / (1 + np.exp(-logits))).astype(np.int64)
    assert task_kind("multi_label").temperature(targets, 3 * logits) == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize("scale", [0.1, 1.0, 100.0])
@pytest.mark.parametrize("labels", [[0, 1] * 20, [0, 1, 1], [1, 1, 1, 1]])
def test_rows_without_an_error_do_not_change_how_sure_a_model_is(labels, scale):
    logits = scale * np.eye(2)[labels]
    assert task_kind("single_label").temperature(np.array(labels), logits) == 1
    assert task_kind("multi_label").temperature(np.eye(2)[labels], logits * 2 - scale) == 1


def test_numbers_have_no_temperature_and_no_confidence():
    kind = task_kind("regression")
    assert kind.temperature(np.array([1.0]), np.array([[1.0]])) is None
    assert kind.confidence(np.array([[1.0]])) is None


def test_confidence_is_the_probability_of_the_answer():
    assert task_kind("single_label").confidence(np.log([[0.7, 0.3], [0.2, 0.8]])) == pytest.approx([0.7, 0.8])
    odds = np.log(np.array([[0.9, 0.2]]) / (1 - np.array([[0.9, 0.2]])))
    assert task_kind("multi_label").confidence(odds) == pytest.approx([0.9 * 0.8])
