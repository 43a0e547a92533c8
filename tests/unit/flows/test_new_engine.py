"""A third engine: a configuration class, one file, one entry in the lookup, and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import pytest

from raykd.config import ExperimentConfig
from raykd.config.section import Section
from raykd.distill.dry_run import outline
from raykd.run.task import TrainTask
from raykd.trainers.engines.build_engine import ENGINES
from raykd.trainers.engines.torch_engine import TorchEngine
from tests.unit.run.tasks import TORCH, task_of, train


class HalvingEngineConfig(Section):
    """As a member of ``EngineConfig`` in ``config/training.py`` would be."""

    kind: Literal["halving"] = "halving"
    factor: float = 0.5

    @property
    def description(self) -> str:
        return f"halving, {self.factor}"


class HalvingEngine(TorchEngine):
    """Plain torch with a fraction of the learning rate."""

    kind = "halving"

    def __init__(self, *arguments: Any, factor: float, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._factor = factor

    def step(self, lr: float, *, max_grad_norm: float) -> None:
        super().step(lr * self._factor, max_grad_norm=max_grad_norm)


@pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")  # the union of configurations does not list it
def test_a_third_engine_trains(experiment: Callable[..., ExperimentConfig], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ENGINES, "halving", HalvingEngine)
    config = experiment(**TORCH, teacher__training__max_steps=2)
    task: TrainTask = task_of(config).model_copy(update={"engine": HalvingEngineConfig()})
    compute = config.compute.model_copy(update={"engine": HalvingEngineConfig()})
    assert "halving, 0.5" in outline(config.model_copy(update={"compute": compute}))
    history = train(task)
    assert next(record for record in history if record["event"] == "start")["engine"] == "halving"
    assert json.loads(Path(task.folder, "task.json").read_text())["engine"] == {"kind": "halving", "factor": 0.5}
