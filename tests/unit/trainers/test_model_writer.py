"""The best model, its auxiliary modules, and the models of evaluations."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from raykd.trainers import model_writer
from raykd.trainers.context import WorkerContext
from raykd.trainers.engines.engine import ParameterState
from raykd.trainers.model_writer import ModelWriter


class Engine:
    """Weights that are the number of its updates."""

    updates = 1

    def state(self, *, moments: bool) -> Iterator[tuple[str, ParameterState]]:
        for name in ("model.weight", "auxiliary.head.weight"):
            yield name, ParameterState(torch.full((2,), float(self.updates)))


def test_auxiliary_modules_of_an_evaluation_do_not_replace_those_of_the_best_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: dict[str, float] = {}

    def save(_model: Any, _tokenizer: Any, folder: str, *, state: dict[str, torch.Tensor]) -> None:
        saved[Path(folder).name] = state["weight"][0].item()

    monkeypatch.setattr(model_writer, "save_classifier", save)
    context = WorkerContext(0, 1, torch.device("cpu"))
    writer = ModelWriter(
        SimpleNamespace(), None, context, str(tmp_path), str(tmp_path / "model"), auxiliary=("head",), keep_evaluated=True
    )
    engine: Any = Engine()
    writer.save_evaluated(engine)
    writer.save_best(engine)
    engine.updates = 2
    writer.save_evaluated(engine)
    assert saved == {"step-1": 1.0, "model": 1.0, "step-2": 2.0}
    assert load_file(tmp_path / "head.safetensors")["weight"].eq(1).all()
    assert load_file(tmp_path / "evaluated" / "step-2" / "head.safetensors")["weight"].eq(2).all()
