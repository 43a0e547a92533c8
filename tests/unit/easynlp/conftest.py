"""EasyNLP's commands without Ray: the same training and scoring code, in this process."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.easynlp_world import as_flags, make_world


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return make_world(tmp_path_factory.mktemp("easynlp"))


@pytest.fixture
def easynlp(monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """``raykd easynlp`` in this process; ``listen`` hears every record of a training."""
    from raykd.config import ComputeConfig, TorchEngineConfig
    from raykd.data.step_stream import local_feed
    from raykd.easynlp import main, metakd_files, metakd_train, score, train
    from raykd.predict import score_locally
    from raykd.run.build_objective import BuildObjective
    from raykd.run.train_task import run_task
    from raykd.trainers.context import local_context

    listeners: list[Callable[[Any], None]] = []

    class LocalGroup:
        def __init__(self, compute: ComputeConfig, *, storage: str, name: str, build_objective: BuildObjective) -> None:
            self._build_objective = build_objective

        def start(self) -> None:
            pass

        def close(self) -> None:
            pass

        def run(self, tasks: Sequence[Any], on_event: Callable[[str, Any], None]) -> None:
            with local_context() as context:
                for task in tasks:
                    hear = (lambda entry: on_event("easynlp", entry), *listeners)
                    run_task(task, context, build_feed=local_feed, build_objective=self._build_objective, listeners=hear)

    @contextmanager
    def connected(workers: Any, precision: str) -> Iterator[ComputeConfig]:
        yield ComputeConfig(engine=TorchEngineConfig(), precision=precision)

    def local_score(jobs: Any, compute: ComputeConfig, **settings: Any) -> Any:
        return score_locally(jobs, precision=compute.precision, **settings)

    monkeypatch.setattr(train, "WorkerGroup", LocalGroup)
    monkeypatch.setattr(train, "connected", connected)
    for module in (score, metakd_files):
        monkeypatch.setattr(module, "connected", connected)
    for module in (score, metakd_files, metakd_train):
        monkeypatch.setattr(module, "score_models", local_score)

    def run(*arguments: str, listen: Callable[[Any], None] | None = None) -> int:
        listeners[:] = [listen] if listen else []
        return main(list(arguments))

    return run


@pytest.fixture
def train_flags(world: dict[str, str], tmp_path: Path) -> Callable[..., list[str]]:
    """Flags of a short SST-2 training; keywords change them, None leaves one out."""

    def flags(**changes: Any) -> list[str]:
        values: dict[str, Any] = {
            "mode": "train",
            "tables": f"{world['sst2_train']},{world['sst2_dev']}",
            "input_schema": "sent:str:1,label:str:1",
            "first_sequence": "sent",
            "label_name": "label",
            "checkpoint_dir": str(tmp_path / "model"),
            "sequence_length": 32,
            "micro_batch_size": 32,
            "epoch_num": 1,
            "learning_rate": 0.001,
            "user_defined_parameters": f"pretrain_model_name_or_path={world['student']}",
        } | changes
        return as_flags(**values)

    return flags
