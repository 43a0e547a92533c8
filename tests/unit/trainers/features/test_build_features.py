"""A frozen teacher lies in memory in the precision that it computes in, and runs without padding where the student does."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from raykd.config.features import FeatureKDConfig
from raykd.config.training import Precision
from raykd.models import label_names, load_classifier, load_config, runs_unpadded, set_attention
from raykd.trainers.auxiliary import Composite
from raykd.trainers.context import WorkerContext
from raykd.trainers.features.build_features import StudentTask, feature_losses, live_teacher, load_teacher
from raykd.trainers.features.encoder_outputs import expose_attention
from raykd.trainers.features.feature_kd import PROJECTIONS, FeatureKD, projections
from tests.unit.metakd.features import make_batch, make_model


def student_on(folder: str, *, unpadded: bool, precision: Precision = "fp32") -> StudentTask:
    rows: Any = None
    labels = label_names(load_config(folder))
    model = load_classifier(folder, labels=labels)
    set_attention(model, unpadded=unpadded)
    worker = WorkerContext(0, 1, torch.device("cpu"))
    return StudentTask(model, labels, rows=rows, epochs=1, worker=worker, precision=precision)


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_teacher_is_stored_in_the_precision_of_the_training(
    precision: Precision, dtype: torch.dtype, tmp_path: Path, new_model: Callable[..., str]
) -> None:
    teacher = new_model(tmp_path / "teacher", hidden=16, seed=1)
    student = student_on(teacher, unpadded=False, precision=precision)
    loaded = load_teacher(FeatureKDConfig(teacher=teacher), student)
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    ids = torch.arange(12).reshape(2, 6)
    exact = load_classifier(teacher, labels=("0", "1"))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        torch.testing.assert_close(loaded(ids).logits.float(), exact(ids).logits.float(), rtol=0.05, atol=0.02)


def test_losses_and_gradients_without_padding_are_those_with_it(tmp_path: Path) -> None:
    """The teacher runs as the student does."""
    for name, seed in (("teacher", 1), ("student", 2)):
        make_model(seed=seed).save_pretrained(tmp_path / name)
    config = FeatureKDConfig(teacher=str(tmp_path / "teacher"), attention_weight=0.0)
    found = []
    for unpadded in (False, True):
        task = student_on(str(tmp_path / "student"), unpadded=unpadded)
        teacher, batch = load_teacher(config, task), make_batch(unpadded=unpadded)
        assert (runs_unpadded(teacher), batch.row_lengths is not None) == (unpadded, unpadded)
        losses = feature_losses(config, student=task.model.config, teacher=teacher.config)
        auxiliary = {PROJECTIONS: projections(16, 16, ())}
        objective = FeatureKD(teacher=live_teacher(teacher, losses, task), losses=losses, auxiliary=auxiliary)
        terms = objective(Composite(task.model, objective.trainable), batch).terms
        torch.stack(list(terms.values())).sum().backward()
        gradients = {name: one.grad for name, one in task.model.named_parameters() if one.grad is not None}
        found.append(terms | gradients)
    assert {"embedding", "hidden"} < found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        torch.testing.assert_close(found[1][name], value, rtol=1e-4, atol=1e-6)


def test_an_exposed_attention_leaves_rows_padded(tmp_path: Path, new_model: Callable[..., str]) -> None:
    model = load_classifier(new_model(tmp_path / "model", hidden=16, seed=1), labels=("0", "1"))
    set_attention(model, unpadded=True)
    expose_attention(model, name="the student", terms=["attention"])
    assert not runs_unpadded(model)
