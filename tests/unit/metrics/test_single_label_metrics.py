import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, log_loss, matthews_corrcoef, roc_auc_score

from raykd.errors import ConfigError, DataError
from raykd.metrics.single_label_metrics import (
    agreement,
    class_metrics,
    classification_metrics,
    expected_calibration_error,
    reliability,
    row_losses,
    softmax,
)

TWO = ("negative", "positive")
THREE = ("a", "b", "c")


def logits_of(*probabilities: list[float]) -> np.ndarray:
    return np.log(np.array(probabilities))


# true 1 1 0 0 1; said 1 0 0 1 1: hits of class 1 are 2 of 3 said and 2 of 3 true
LABELS = np.array([1, 1, 0, 0, 1])
LOGITS = logits_of([0.2, 0.8], [0.7, 0.3], [0.9, 0.1], [0.4, 0.6], [0.45, 0.55])


def test_two_classes_by_hand():
    metrics = classification_metrics(LABELS, LOGITS, TWO)
    assert metrics["accuracy"] == pytest.approx(3 / 5)
    assert metrics["micro_f1"] == pytest.approx(3 / 5)
    assert metrics["f1"] == pytest.approx(2 / 3)
    assert metrics["macro_f1"] == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert metrics["mcc"] == pytest.approx((2 * 1 - 1 * 1) / np.sqrt(3 * 3 * 2 * 2))
    # scores of the positives .8 .3 .55, of the negatives .1 .6: pairs in the right order 2 + 1 + 1 of 6
    assert metrics["auc"] == pytest.approx(4 / 6)
    assert metrics["loss"] == pytest.approx(-np.log([0.8, 0.3, 0.9, 0.4, 0.55]).mean())


def test_auc_ranks_margins_that_a_softmax_rounds_to_one():
    labels = np.array([0, 0, 1, 1])
    assert classification_metrics(labels, np.array([[0, 40], [0, 45], [0, 50], [0, 60]], np.float32), TWO)["auc"] == 1.0
    assert classification_metrics(labels, np.array([[60, 0], [50, 0], [45, 0], [40, 0]], np.float32), TWO)["auc"] == 1.0
    three = np.array([[40, 0, -900], [0, 40, -900], [-900, 0, 40], [0, -900, 45]], np.float32)
    assert classification_metrics(np.array([0, 1, 2, 2]), three, THREE)["auc"] == 1.0


def test_positive_label_is_the_second_unless_named():
    assert classification_metrics(LABELS, LOGITS, TWO, positive_label="negative")["f1"] == pytest.approx(1 / 2)
    with pytest.raises(ConfigError, match=r"'bad' is not one of the labels \(negative, positive\)"):
        classification_metrics(LABELS, LOGITS, TWO, positive_label="bad")


def test_three_classes_agree_with_scikit_learn():
    dice = np.random.default_rng(0)
    labels, logits = dice.integers(0, 3, 200), dice.normal(size=(200, 3)).astype(np.float32)
    metrics = classification_metrics(labels, logits, THREE)
    assert "f1" not in metrics
    assert metrics["auc"] == pytest.approx(roc_auc_score(labels, softmax(logits), multi_class="ovr", average="macro"))
    assert metrics["loss"] == pytest.approx(log_loss(labels, softmax(logits)))
    assert metrics["micro_f1"] == pytest.approx(metrics["accuracy"])


@given(data=st.data(), classes=st.integers(2, 4), rows=st.integers(2, 60))
@settings(max_examples=60)
def test_any_rows_agree_with_scikit_learn(data: st.DataObject, classes: int, rows: int):
    """Equal scores, classes that are missing and predictions of one class included."""
    ids = st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows).map(np.array)
    labels, steps = data.draw(ids), [data.draw(ids) for _ in range(classes)]
    logits = np.stack(steps, axis=1).astype(np.float32)
    metrics = classification_metrics(labels, logits, [str(index) for index in range(classes)])
    said = logits.argmax(axis=1)
    expected = {
        "accuracy": accuracy_score(labels, said),
        "macro_f1": f1_score(labels, said, labels=range(classes), average="macro", zero_division=0.0),
        "micro_f1": f1_score(labels, said, labels=range(classes), average="micro", zero_division=0.0),
        "mcc": matthews_corrcoef(labels, said) if len(set(labels)) > 1 and len(set(said)) > 1 else 0.0,
    }
    if classes == 2:
        expected["f1"] = f1_score(labels, said, zero_division=0.0)
        expected["auc"] = roc_auc_score(labels, logits[:, 1] - logits[:, 0]) if len(set(labels)) > 1 else 0.5
    assert {name: metrics[name] for name in expected} == pytest.approx(expected)


@pytest.mark.parametrize("names", [TWO, THREE])
def test_one_class_has_defined_results_and_no_warning(names: tuple[str, ...]):
    logits = np.random.default_rng(0).normal(size=(20, len(names)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metrics = classification_metrics(np.ones(20, int), logits, names)
        same = classification_metrics(np.ones(20, int), np.tile([0.0, 1.0, 0.0][: len(names)], (20, 1)), names)
    assert (metrics["auc"], metrics["mcc"]) == (0.5, 0.0)
    assert (same["accuracy"], same["mcc"]) == (1.0, 0.0)
    assert all(np.isfinite(value) for value in metrics.values())


def test_a_class_that_is_never_there_counts_in_macro_f1_and_not_in_auc():
    labels = np.array([0, 1, 0, 1])
    logits = np.log([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.7, 0.2, 0.1], [0.3, 0.6, 0.1]])
    metrics = classification_metrics(labels, logits, THREE)
    assert metrics["macro_f1"] == pytest.approx(2 / 3)
    assert metrics["auc"] == 1.0


def test_calibration_error_by_hand():
    # bins of 1/15: 0.6 -> (8/15, 9/15], twice, once right; 0.95 -> (14/15, 1], right: (2 * |0.5 - 0.6| + |1 - 0.95|) / 3
    labels = np.array([0, 1, 1])
    logits = logits_of([0.6, 0.4], [0.6, 0.4], [0.05, 0.95])
    assert expected_calibration_error(labels, logits) == pytest.approx((2 * 0.1 + 0.05) / 3)


def test_calibration_bins_are_open_below_and_closed_above():
    bins = reliability(np.array([0, 0]), logits_of([0.5, 0.5], [1 - 1e-9, 1e-9]), bins=2)
    assert bins.rows.tolist() == [1, 1]


def test_a_calibrated_model_has_no_calibration_error():
    labels = np.array([0] * 8 + [1] * 2)
    assert expected_calibration_error(labels, np.tile(np.log([0.8, 0.2]), (10, 1))) == pytest.approx(0)


def test_class_metrics_by_hand():
    classes = class_metrics(LABELS, LOGITS, TWO)
    assert classes["positive"] == pytest.approx({"precision": 2 / 3, "recall": 2 / 3, "f1": 2 / 3, "rows": 3})
    assert classes["negative"] == pytest.approx({"precision": 1 / 2, "recall": 1 / 2, "f1": 1 / 2, "rows": 2})


def test_agreement_counts_equal_answers():
    assert agreement(LOGITS, np.array([[0, 1], [0, 1], [1, 0], [0, 1], [0, 1]])) == pytest.approx(4 / 5)
    with pytest.raises(DataError, match="not of the same rows and classes"):
        agreement(LOGITS, LOGITS[:3])


def test_huge_logits_give_finite_losses():
    losses = row_losses(np.array([0, 1]), np.array([[1e4, -1e4], [1e4, -1e4]], np.float32))
    assert losses.tolist() == [0.0, 2e4]


@pytest.mark.parametrize(
    ("labels", "logits", "message"),
    [
        (np.zeros(0, int), np.zeros((0, 2)), "no rows"),
        (np.zeros(3, int), np.zeros((2, 2)), r"logits have shape \(2, 2\); 3 rows with 2 labels need \(3, 2\)"),
        (np.zeros(3, int), np.zeros((3, 3)), "logits have shape"),
        (np.array([0, 2]), np.zeros((2, 2)), "reach from 0 to 2; 2 labels have ids 0 to 1"),
        (np.array([-1, 0]), np.zeros((2, 2)), "reach from -1"),
        (np.array([0, 1]), np.array([[0, 1], [np.nan, 0]]), "logits of row 1 are"),
    ],
)
def test_what_does_not_fit_is_refused(labels: np.ndarray, logits: np.ndarray, message: str):
    with pytest.raises(DataError, match=message):
        classification_metrics(labels, logits, TWO)


@settings(max_examples=30)
@given(rows=st.integers(1, 40), classes=st.integers(2, 5), seed=st.integers(0, 1000), shift=st.floats(-50, 50))
def test_metrics_stay_in_bounds_and_ignore_a_shift(rows: int, classes: int, seed: int, shift: float):
    dice = np.random.default_rng(seed)
    labels, logits = dice.integers(0, classes, rows), dice.normal(size=(rows, classes))
    names = [str(index) for index in range(classes)]
    metrics = classification_metrics(labels, logits, names)
    assert all(0 <= value <= 1 for name, value in metrics.items() if name not in ("mcc", "loss"))
    moved = classification_metrics(labels, logits + shift, names)
    assert moved["loss"] == pytest.approx(metrics["loss"])
    order = dice.permutation(rows)
    assert classification_metrics(labels[order], logits[order], names) == pytest.approx(metrics)
