"""A frozen teacher lies in memory in the precision that it computes in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from raykd.config.features import FeatureKDConfig
from raykd.config.training import Precision
from raykd.models import load_classifier
from raykd.trainers.context import WorkerContext
from raykd.trainers.features.build_features import StudentTask, load_teacher


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_a_teacher_is_stored_in_the_precision_of_the_training(
    precision: Precision, dtype: torch.dtype, tmp_path: Path, new_model: Callable[..., str]
) -> None:
    teacher = new_model(tmp_path / "teacher", hidden=16, seed=1)
    worker = WorkerContext(0, 1, torch.device("cpu"))
    rows: Any = None
    student = StudentTask(None, ("0", "1"), rows=rows, epochs=1, worker=worker, precision=precision)
    loaded = load_teacher(FeatureKDConfig(teacher=teacher), student)
    assert {parameter.dtype for parameter in loaded.parameters()} == {dtype}
    ids = torch.arange(12).reshape(2, 6)
    exact = load_classifier(teacher, labels=("0", "1"))
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        torch.testing.assert_close(loaded(ids).logits.float(), exact(ids).logits.float(), rtol=0.05, atol=0.02)
