"""The interface of task kinds, over all of them."""

import numpy as np
import pytest
import torch

from raykd.config.data import TASKS
from raykd.errors import DataError
from raykd.task_kinds import TASK_KINDS, TaskKind, task_kind, task_kind_of_model, write_task_kind

NAMES = ("a", "b", "c")


def example(kind: TaskKind, rows: int = 60) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Labels as they are stored, and logits that tell them partly."""
    dice = np.random.default_rng(0)
    if kind.name == "multi_label":
        labels = dice.integers(0, 2, (rows, 3))
        return labels, (labels - 0.5 + dice.normal(size=labels.shape)).astype(np.float32), NAMES
    if kind.name == "regression":
        values = dice.normal(size=rows).astype(np.float32)
        return values, (values + dice.normal(size=rows))[:, None].astype(np.float32), kind.label_codec(()).names
    labels = dice.integers(0, 3, rows)
    logits = np.eye(3)[labels] + dice.normal(size=(rows, 3))
    return labels, logits.astype(np.float32), NAMES


@pytest.fixture(params=sorted(TASK_KINDS))
def kind(request) -> TaskKind:
    return task_kind(request.param)


def test_the_configuration_knows_every_kind():
    assert set(TASKS) == set(TASK_KINDS)


def test_metrics_have_the_names_and_the_order_that_are_promised(kind):
    labels, logits, names = example(kind)
    metrics = kind.measure(labels, logits, names)
    assert tuple(metrics) == kind.metric_names(len(names))
    assert kind.headline.name == next(iter(metrics))
    assert {"loss", kind.headline.name} <= set(metrics)
    known = {one.name for one in kind.metrics}
    assert set(metrics) | {"agreement"} <= known
    assert set(kind.table_metrics(len(names))) <= known
    assert next(iter(kind.resampled(names))) == kind.table_metrics(len(names))[0] == kind.headline.name
    assert kind.traits.smaller_is_better <= known


def test_agreement_with_itself_is_whole(kind):
    _, logits, _ = example(kind)
    assert kind.agreement(logits, logits) == pytest.approx(1.0)


def test_the_hard_loss_is_the_measured_loss(kind):
    labels, logits, names = example(kind)
    per_row = kind.hard_loss(torch.from_numpy(logits), torch.from_numpy(labels))
    assert per_row.shape == (len(labels),)
    assert float(per_row.mean()) == pytest.approx(kind.measure(labels, logits, names)["loss"], rel=1e-5)


def test_a_model_tells_its_kind_by_its_problem_type(kind):
    from transformers import BertConfig

    assert task_kind_of_model(BertConfig(problem_type=kind.problem_type)) is kind


class Stars(type(task_kind("regression"))):
    """A second kind with the problem type of regression."""

    name = "stars"


def test_a_model_names_its_kind_among_those_of_one_problem_type(kind, monkeypatch, tmp_path):
    from transformers import AutoConfig, BertConfig

    stars = Stars()
    monkeypatch.setitem(TASK_KINDS, "stars", stars)
    for one in (kind, stars):
        config = BertConfig()
        write_task_kind(config, one)
        config.save_pretrained(tmp_path)
        assert task_kind_of_model(AutoConfig.from_pretrained(tmp_path)) is one
    config.problem_type = "single_label_classification"  # trained again elsewhere
    assert task_kind_of_model(config) is task_kind("single_label")
    write_task_kind(config, stars)
    monkeypatch.delitem(TASK_KINDS, "stars")  # a kind that this version does not know
    assert task_kind_of_model(config) is task_kind("regression")


def test_answers_are_cells_that_the_codec_reads():
    single, many = (task_kind(name).label_codec(NAMES) for name in ("single_label", "multi_label"))
    assert single.parse(task_kind("single_label").answer(np.array([0.0, 2.0, 1.0]), NAMES)) == 1
    assert many.parse(task_kind("multi_label").answer(np.array([1.0, -2.0, 1.0]), NAMES)) == (0, 2)
    assert many.column([(0, 2), ()]).to_pylist() == [[1, 0, 1], [0, 0, 0]]
    with pytest.raises(DataError, match=r"label 'd' is not one of 'a', 'b', 'c'"):
        single.parse("d")


def test_errors_are_better_when_smaller_and_the_headline_when_larger(kind):
    assert kind.smaller_is_better("loss")
    assert not kind.smaller_is_better(kind.headline.name)
    assert task_kind("regression").smaller_is_better("rmse")
    assert task_kind("single_label").smaller_is_better("ece")
