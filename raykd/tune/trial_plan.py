"""What a trial trains: its values as chains of training tasks over rows, logits and teachers that all trials share.

A plan is a value that travels to the trials' actors; nothing in it is trained or started here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from raykd.config import ExperimentConfig, TorchEngineConfig, TrackingConfig, TrainingConfig, with_values
from raykd.config.metakd import MetaDistillationObjective
from raykd.config.search_space import Value
from raykd.config.tune import BaseConfig
from raykd.data import storage
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.tasks import run_folder, student_tasks, teacher_task
from raykd.models import model_digest
from raykd.run.task import TrainTask, key_of
from raykd.tune.trial_teacher import TrialTeacher, lesson

Variant = Literal["kd", "no_kd"]
Chain = Iterator[TrainTask]
"""Trainings that follow each other: one is asked for when the one before it is trained. The last one's model is the result."""


class Adapt(Protocol):
    """What whoever trains a chain changes in each of its tasks; ``last`` says that its model is the chain's result."""

    def __call__(self, task: TrainTask, *, domain: str, last: bool) -> TrainTask:
        """The task as it is trained; a task that follows begins with its model."""
        ...


class Plan(Protocol):
    """Everything that turns a trial's values into trainings."""

    @property
    def base(self) -> BaseConfig:
        """The searched job."""

    @property
    def links(self) -> int:
        """Trainings in a chain of a student that is distilled."""

    def lesson(self, config: BaseConfig) -> TrialTeacher | None:
        """The teacher that its students need; none where the job's own serves."""

    def chains(self, config: BaseConfig, *, variant: Variant, seed: int, folder: str, adapt: Adapt) -> dict[str, Chain]:
        """By domain, or by an empty name, the chain that makes a student in ``folder``."""


@dataclass(frozen=True)
class DistillationPlan:
    """A student from teacher logits: chains of one training."""

    base: ExperimentConfig
    train: str
    """Prepared set of the training rows."""
    validation: str
    """Prepared set of the validation rows."""
    logits: str
    """Side table of teacher logits."""
    digest: str
    """Hash of the student's initial model."""
    taught: tuple[str, str] | None = None
    """Prepared sets of training and validation rows as the teacher reads them; none where no trial has a teacher of its own."""

    links: int = 1

    def lesson(self, config: BaseConfig) -> TrialTeacher | None:
        """See :class:`Plan`."""
        config = _distillation(config)
        if config.teacher == self.base.teacher or config.teacher is None or self.taught is None:
            return None
        train, validation = map(TokenisedSet.open, self.taught)
        task = teacher_task(config, train=train, validation=validation, digest=model_digest(config.teacher.model))
        return lesson(task, folder=run_folder(self.base), rows=train.path)

    def chains(self, config: BaseConfig, *, variant: Variant, seed: int, folder: str, adapt: Adapt) -> dict[str, Chain]:
        """The one chain, of one task."""
        config = _distillation(config)
        own = None if variant == "no_kd" else self.lesson(config)
        student = config.student.model_copy(update={"seeds": (seed,), "baseline": True})
        tasks = student_tasks(
            config.model_copy(update={"student": student}),
            train=TokenisedSet.open(self.train),
            validation=TokenisedSet.open(self.validation),
            logits=SideTable.open(own.logits() if own else self.logits),
            digest=self.digest,
        )
        task = tasks[0] if variant == "no_kd" else tasks[-1]
        return {"": iter([adapt(task.model_copy(update={"folder": folder}), domain="", last=True)])}


def _distillation(config: BaseConfig) -> ExperimentConfig:
    if not isinstance(config, ExperimentConfig):
        raise TypeError(f"a distillation's plan was given {type(config).__name__}")
    return config


@dataclass(frozen=True)
class TrialPlan:
    """A plan, and how trials differ from the trainings at the end."""

    plan: Plan
    seed: int
    """Seed that every trial trains with."""
    metric: str
    """What trials are compared by."""
    folder: str
    """Where trials tell each other which trainings they have in common."""
    max_steps: int | None
    """Optimiser steps of each training at most."""
    trials: int = 1
    """How many there are."""
    local: bool = True
    """Whether trials train in their own actor, on the engine that needs no process group."""
    interval: int | None = None
    """Where knobs move while trials train: optimiser steps between the checkpoints that other trials go on from."""

    def lesson(self, values: Mapping[str, Value]) -> TrialTeacher | None:
        """The teacher that the trial needs, with the base's full budget; none where the job's own serves."""
        found = self.plan.lesson(with_values(self.plan.base, values))
        if found is None:
            return None
        engine = {"engine": TorchEngineConfig()} if self.local else {}
        return found.on(tracking=TrackingConfig(), **engine)

    def chains(self, index: int, values: Mapping[str, Value], folder: str) -> dict[str, Chain]:
        """The trial's chains; its tasks are tracked as one run, by the trial, and not each for itself."""

        def adapt(task: TrainTask, *, domain: str, last: bool) -> TrainTask:
            del domain
            task = self._of_trial(task)
            if not last:
                return self._known(task)
            return task.model_copy(update={"key": key_of(index, task.key if self.interval is None else self._key_of_base())})

        config = with_values(self.plan.base, values)
        return self.plan.chains(config, variant="kd", seed=self.seed, folder=folder, adapt=adapt)

    def _key_of_base(self) -> str:
        """Key of the training with the base's values: of one training, whatever its knobs become meanwhile."""

        def adapt(task: TrainTask, *, domain: str, last: bool) -> TrainTask:
            del domain, last
            return self._of_trial(task)

        return next(self.plan.chains(self.plan.base, variant="kd", seed=self.seed, folder="", adapt=adapt)[""]).key

    def offer(self, task: TrainTask) -> None:
        """Tell other trials that a training which others follow is done: one of theirs may be the same."""
        storage.write_json(self._word_of(task), {"folder": task.folder})

    def _known(self, task: TrainTask) -> TrainTask:
        """The same training where another trial has done it already."""
        word = self._word_of(task)
        if not storage.exists(word):
            return task
        there = task.model_copy(update={"folder": storage.read_json(word)["folder"]})
        return there if there.is_done() else task

    def _word_of(self, task: TrainTask) -> str:
        return storage.join(self.folder, f"{task.key}.json")

    def _of_trial(self, task: TrainTask) -> TrainTask:
        training = limited(task.training, self.max_steps)
        if self.interval is not None:
            training = training.model_copy(update={"checkpoint_steps": self.interval})
        changes: dict[str, Any] = {"training": training, "tracking": TrackingConfig()}
        if self.local:
            changes["engine"] = TorchEngineConfig()
        if isinstance(task.objective, MetaDistillationObjective):
            changes["objective"] = task.objective.model_copy(update={"trainings": self.trials, "share_states": True})
        return task.model_copy(update={**changes, "key": key_of("trial", task.key, self.max_steps)})


def limited(training: TrainingConfig, max_steps: int | None) -> TrainingConfig:
    """The same training with fewer steps."""
    if max_steps is None:
        return training
    return training.model_copy(update={"max_steps": min(max_steps, training.max_steps or max_steps)})
