"""Meta-KD's training tasks, trained in this process."""

from pathlib import Path
from typing import Any

from raykd.config import ComputeConfig, EngineConfig, TorchEngineConfig, TrainingConfig
from raykd.config.task_objective import TaskObjective
from raykd.data.step_stream import local_feed
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd.build_meta_objective import build_meta_objective
from raykd.run.task import ModelFolder, TaskInputs, TaskLabels, TrainTask, make_task
from raykd.run.train_task import run_task
from raykd.trainers.context import local_context
from tests.unit.metakd.worlds import LABELS

TORCH = TorchEngineConfig()
TRAINING = TrainingConfig(epochs=2, batch_size=16, learning_rate=1e-3, dropout=0.0)


def train(
    folder: Path,
    model: str,
    rows: TokenisedSet,
    objective: TaskObjective,
    *,
    engine: EngineConfig = TORCH,
    training: TrainingConfig = TRAINING,
    validation: TokenisedSet | None = None,
    **tables: Any,
) -> TrainTask:
    task = make_task(
        name=folder.name, folder=str(folder), model=ModelFolder(model, ""), labels=TaskLabels(LABELS),
        inputs=TaskInputs(rows, validation, **tables),
        objective=objective, training=training, seed=1, compute=ComputeConfig(engine=engine, precision="fp32"),
    )  # fmt: skip
    with local_context() as context:
        run_task(task, context, build_feed=local_feed, build_objective=build_meta_objective)
    return task
