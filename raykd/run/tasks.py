"""From the configuration to training tasks: pure functions, nothing is read or started."""

import hashlib
import json
import os
from importlib.metadata import version
from typing import Any

from raykd import __version__
from raykd.config import ExperimentConfig, FineTune, ObjectiveConfig, TrainingConfig
from raykd.config.stages import StageName
from raykd.data import storage
from raykd.data.prepared import PreparedSet
from raykd.data.tables import SideTable
from raykd.run.task import TrainTask

_LIBRARIES = ("torch", "transformers", "deepspeed", "tokenizers", "numpy")


def key_of(*parts: Any) -> str:
    """Hash of JSON values, raykd's version and those of the libraries that numbers depend on."""
    versions = {"raykd": __version__} | {name: version(name) for name in _LIBRARIES}
    text = json.dumps([parts, versions], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def run_folder(config: ExperimentConfig) -> str:
    """The folder of everything the experiment makes; absolute, since workers may run elsewhere."""
    return storage.join(storage.absolute(config.storage), config.name)


def cache_folder(config: ExperimentConfig) -> str:
    """The folder of prepared data, shared by all experiments of one storage."""
    return storage.join(storage.absolute(config.storage), "cache")


def teacher_task(config: ExperimentConfig, *, train: PreparedSet, selection: PreparedSet, digest: str) -> TrainTask:
    """Fine-tuning of the teacher; ``digest`` is the hash of its initial model."""
    if config.teacher is None:
        raise ValueError("the experiment has no teacher")
    return _task(
        config,
        name="teacher",
        folder="teacher",
        model=config.teacher.model,
        digest=digest,
        train=train,
        selection=selection,
        logits=None,
        objective=FineTune(),
        training=config.teacher.training,
        seed=config.seed,
    )


def student_tasks(
    config: ExperimentConfig, *, train: PreparedSet, selection: PreparedSet, logits: SideTable | None, digest: str
) -> list[TrainTask]:
    """For each seed the student without distillation, where asked for, and the one with it: same rows, same order."""
    student = config.student
    return [
        _task(
            config,
            name=f"student {variant.replace('_', ' ')} seed {seed}",
            folder=_student_folder(variant, seed),
            model=student.model,
            digest=digest,
            train=train,
            selection=selection,
            logits=None if objective.kind == "fine_tune" else logits,
            objective=objective,
            training=student.training,
            seed=seed,
        )
        for variant, objective in _variants(config)
        for seed in student.seeds
    ]


def task_folders(config: ExperimentConfig) -> list[tuple[StageName, str]]:
    """Stage and folder of every task the experiment trains."""
    folders: list[tuple[StageName, str]] = []
    if config.teacher is not None and config.teacher.fine_tune:
        folders.append(("teacher", "teacher"))
    folders += [
        ("students", _student_folder(variant, seed)) for variant, _ in _variants(config) for seed in config.student.seeds
    ]
    return [(stage, storage.join(run_folder(config), folder)) for stage, folder in folders]


def side_digest(side: SideTable) -> str:
    """Hash of a side table's content."""
    return key_of([part.digest for part in side.parts])


def _variants(config: ExperimentConfig) -> list[tuple[str, ObjectiveConfig]]:
    """The students of one seed: without distillation where asked for, then with it."""
    student = config.student
    baseline: list[tuple[str, ObjectiveConfig]] = [("no_kd", FineTune())]
    distilled: list[tuple[str, ObjectiveConfig]] = [("kd", student.objective)]
    return baseline * student.baseline + distilled * (student.objective.kind != "fine_tune")


def _student_folder(variant: str, seed: int) -> str:
    return f"students/{variant}-seed{seed}"


def _task(
    config: ExperimentConfig,
    *,
    name: str,
    folder: str,
    model: str,
    digest: str,
    train: PreparedSet,
    selection: PreparedSet,
    logits: SideTable | None,
    objective: ObjectiveConfig,
    training: TrainingConfig,
    seed: int,
) -> TrainTask:
    numbers = [
        objective.model_dump(),
        training.model_dump(exclude={"log_every", "keep_evaluated"}),
        seed,
        config.compute.precision,
        *filter(None, [config.data.positive_label]),
    ]
    inputs = [digest, train.fingerprint, selection.fingerprint, side_digest(logits) if logits else None]
    return TrainTask(
        name=name,
        folder=storage.join(run_folder(config), folder),
        model=storage.absolute(model) if os.path.isdir(model) else model,
        labels=train.labels or (),
        positive_label=config.data.positive_label,
        train=train.path,
        selection=selection.path,
        logits=logits.path if logits else None,
        objective=objective,
        training=training,
        seed=seed,
        engine=config.compute.engine,
        precision=config.compute.precision,
        tracking=config.tracking,
        group=config.name,
        key=key_of(numbers, inputs),
    )
