"""What a trial trains: its values as chains of training tasks over rows, logits and teachers that all trials share.

A plan is a value that travels to the trials' actors; nothing in it is trained or started here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from raykd.config import ExperimentConfig, MetaKDConfig, TorchEngineConfig, TrackingConfig, TrainingConfig, with_values
from raykd.config.tune import BaseConfig, Value
from raykd.data import storage
from raykd.data.prepared import PreparedSet
from raykd.data.tables import SideTable
from raykd.models import model_digest
from raykd.run.metakd_tasks import Rows, Student, first_task, label_task, second_task
from raykd.run.task import TrainTask
from raykd.run.tasks import key_of, student_tasks

NEVER_S = 1e9
Variant = Literal["kd", "no_kd"]
Chain = Iterator[TrainTask]
"""Trainings that follow each other: one is asked for when the one before it is trained. The last one's model is the result."""


class Plan(Protocol):
    """Everything that turns a trial's values into trainings."""

    @property
    def base(self) -> BaseConfig:
        """The searched job."""

    @property
    def links(self) -> int:
        """Trainings in a chain of a student that is distilled."""

    def chains(self, config: BaseConfig, *, variant: Variant, seed: int, folder: str) -> dict[str, Chain]:
        """By domain, or by an empty name, the chain that makes a student in ``folder``."""


@dataclass(frozen=True)
class DistillationPlan:
    """A student from teacher logits: chains of one training."""

    base: ExperimentConfig
    train: str
    """Prepared set of the training rows."""
    selection: str
    """Prepared set of the selection rows."""
    logits: str
    """Side table of teacher logits."""
    digest: str
    """Hash of the student's initial model."""

    links: int = 1

    def chains(self, config: BaseConfig, *, variant: Variant, seed: int, folder: str) -> dict[str, Chain]:
        """The one chain, of one task."""
        if not isinstance(config, ExperimentConfig):
            raise TypeError(f"a distillation's plan was given {type(config).__name__}")
        student = config.student.model_copy(update={"seeds": (seed,), "baseline": True})
        tasks = student_tasks(
            config.model_copy(update={"student": student}),
            train=PreparedSet.open(self.train),
            selection=PreparedSet.open(self.selection),
            logits=SideTable.open(self.logits),
            digest=self.digest,
        )
        task = tasks[0] if variant == "no_kd" else tasks[-1]
        return {"": iter([task.model_copy(update={"folder": folder})])}


@dataclass(frozen=True)
class DomainTables:
    """What the students of one domain read; paths."""

    train: str
    dev: str
    weights: str
    logits: str


@dataclass(frozen=True)
class MetaPlan:
    """Students of a meta-teacher: a chain for each domain, stage first and then stage second."""

    base: MetaKDConfig
    teacher: str
    """Folder of the meta-teacher's task."""
    tables: Mapping[str, DomainTables]
    """By domain."""

    @property
    def links(self) -> int:
        """One training where the objective is a single one."""
        return 1 if self.base.student.mode == "single" else 2

    def chains(self, config: BaseConfig, *, variant: Variant, seed: int, folder: str) -> dict[str, Chain]:
        """A chain for each of the chosen domains."""
        if not isinstance(config, MetaKDConfig):
            raise TypeError(f"a Meta-KD plan was given {type(config).__name__}")
        return {
            domain: self._chain(config, domain, variant=variant, seed=seed, folder=storage.join(folder, domain))
            for domain in self.tables
        }

    def _chain(self, config: MetaKDConfig, domain: str, *, variant: Variant, seed: int, folder: str) -> Chain:
        digest, single = model_digest(config.student.model), config.student.mode == "single"
        if variant == "no_kd":
            student = Student("hard_labels", domain, seed)
            yield label_task(config, student, self._rows(domain, chooses=True), digest).model_copy(update={"folder": folder})
            return
        student = Student("meta_kd", domain, seed)
        first = first_task(
            config,
            student,
            self._rows(domain, chooses=single, weighted=True),
            digest,
            teacher=self.teacher,
            teacher_digest=model_digest(storage.join(self.teacher, "model")),
        )
        first = first.model_copy(update={"folder": folder if single else storage.join(folder, "first")})
        yield first
        if not single:
            rows = self._rows(domain, chooses=True, weighted=True, distils=True)
            second = second_task(config, student, rows, first=first, digest=model_digest(first.model_folder))
            yield second.model_copy(update={"folder": folder})

    def _rows(self, domain: str, *, chooses: bool, weighted: bool = False, distils: bool = False) -> Rows:
        tables = self.tables[domain]
        return Rows(
            PreparedSet.open(tables.train),
            PreparedSet.open(tables.dev) if chooses else None,
            SideTable.open(tables.logits) if distils else None,
            (SideTable.open(tables.weights),) if weighted else (),
        )


@dataclass(frozen=True)
class TrialPlan:
    """A plan, and how trials differ from the trainings at the end."""

    plan: Plan
    seed: int
    """Seed that every trial trains with."""
    max_steps: int | None
    """Optimiser steps of each training at most."""
    local: bool = True
    """Whether trials train in their own actor, on the engine that needs no process group."""
    resumable: bool = True
    """Whether a trial checkpoints its trainings; one whose knobs move while it trains begins anew instead."""

    def chains(self, index: int, values: Mapping[str, Value], folder: str) -> dict[str, Chain]:
        """The trial's chains; its tasks are tracked as one run, by the trial, and not each for itself."""
        config = with_values(self.plan.base, values)
        chains = self.plan.chains(config, variant="kd", seed=self.seed, folder=folder)
        return {domain: (self._of_trial(task, index) for task in chain) for domain, chain in chains.items()}

    def _of_trial(self, task: TrainTask, index: int) -> TrainTask:
        training = limited(task.training, self.max_steps)
        if not self.resumable:
            training = training.model_copy(update={"checkpoint_steps": None, "checkpoint_seconds": NEVER_S})
        changes: dict[str, Any] = {"training": training, "tracking": TrackingConfig()}
        if self.local:
            changes["engine"] = TorchEngineConfig()
        return task.model_copy(update={**changes, "key": key_of("trial", index, task.key, self.max_steps)})


def limited(training: TrainingConfig, max_steps: int | None) -> TrainingConfig:
    """The same training with fewer steps."""
    if max_steps is None:
        return training
    return training.model_copy(update={"max_steps": min(max_steps, training.max_steps or max_steps)})
