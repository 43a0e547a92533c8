"""Training tasks of the small experiment, trained in this process."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from raykd.config import ExperimentConfig
from raykd.data.logits_tsv import import_tsv
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import spec_from_config
from raykd.data.side_tables import SideTable
from raykd.data.step_stream import local_feed
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.tasks import teacher_task
from raykd.models import model_digest
from raykd.run.task import TrainTask, cache_folder, key_of
from raykd.run.train_task import run_task
from raykd.task_kinds import label_codec
from raykd.trainers.context import local_context
from raykd.trainers.events import TrainingEvent

Make = Callable[..., ExperimentConfig]
TORCH = {"compute__engine": {"kind": "torch"}}


def task_of(config: ExperimentConfig, **changes: Any) -> TrainTask:
    assert config.teacher is not None
    sets = {
        part: prepare(spec_from_config(config.data, part, config.teacher.model, label_codec(config.data)), cache_folder(config))  # type: ignore[arg-type]  # the job has a teacher
        for part in ("train", "validation")
    }
    task = teacher_task(config, **sets, digest=model_digest(config.teacher.model))
    return task.model_copy(update=changes | ({"key": key_of(str(changes))} if changes else {}))


def train(task: TrainTask, listen: Callable[[TrainingEvent], None] = lambda _: None) -> list[dict[str, Any]]:
    with local_context() as context:
        run_task(task, context, build_feed=local_feed, listeners=(listen,))
    return [json.loads(line) for line in Path(task.history).read_text().splitlines()]


def weights(task: TrainTask) -> dict[str, torch.Tensor]:
    return load_file(Path(task.model_folder, "model.safetensors"))


def losses(history: list[dict[str, Any]]) -> list[float]:
    found = [record["loss"] for record in history if record["event"] == "train"]
    assert found, "a history of a training"
    return found


def with_logits(task: TrainTask, config: ExperimentConfig) -> str:
    """Made-up teacher logits on the task's training rows."""
    return with_logits_of(TokenisedSet.open(task.train), config).path


def with_logits_of(rows: TokenisedSet, config: ExperimentConfig) -> SideTable:
    """Made-up teacher logits on training rows."""
    folder = f"{cache_folder(config)}/made-up-logits"
    lines = Path(config.data.train[0]).read_text().splitlines()
    file = Path(folder + ".tsv")
    file.write_text("".join(f"{len(line) % 3 - 1}.5,0.25\n" for line in lines))
    return import_tsv(str(file), rows, out=folder)
