"""The interface between a search and the kind of job that it searches.

A kind of job implements two classes. :class:`JobWork` lives in the driver and makes what all trials share. :class:`JobPlan` is
a value that travels to the trials' actors and turns a trial's values into training tasks. What a search may vary is decided
by the job's configuration (:class:`~raykd.config.searched_job.SearchedJob`), which needs neither torch nor ray.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, Generic, Literal, Protocol, TypeVar

from raykd.config.features import TeacherFeaturesConfig
from raykd.config.search_space import Value
from raykd.config.searched_job import SearchedJob
from raykd.data.tokenised_set import TokenisedSet
from raykd.run.build_objective import BuildObjective
from raykd.run.task import Phase, TrainTask
from raykd.tune.trial_record import ValueSchedule
from raykd.tune.trial_teacher import TrialTeacher

Variant = Literal["kd", "no_kd"]
"""A student with distillation, or on labels alone."""
TaskChain = Iterator[TrainTask]
"""Tasks that follow each other: the next one is asked for when the one before is trained. The last model is the result."""
Config = TypeVar("Config", bound=SearchedJob)


class AdaptTask(Protocol):
    """Changes to each task of a chain, made by whoever trains it."""

    def __call__(self, task: TrainTask, *, domain: str, last: bool) -> TrainTask:
        """Return the task to train. ``last`` is true for the task whose model is the chain's result."""
        ...


class JobPlan(ABC, Generic[Config]):
    """Tasks of a job for given values."""

    base: Config
    """The searched job."""

    @property
    @abstractmethod
    def build_objective(self) -> BuildObjective:
        """The builder of its tasks' objectives."""

    @property
    @abstractmethod
    def chain_length(self) -> int:
        """Number of tasks in the chain of a distilled student."""

    @abstractmethod
    def trial_teacher(self, config: Config) -> TrialTeacher | None:
        """The teacher of students with this configuration; None for the job's own."""

    @abstractmethod
    def chains(self, config: Config, *, variant: Variant, seed: int, folder: str, adapt: AdaptTask) -> dict[str, TaskChain]:
        """By domain (an empty name without domains), the chain of tasks that trains a student in ``folder``."""

    def num_steps(self, config: Config, max_steps: int | None) -> int:
        """Optimiser steps of a trial's student; 1 for jobs that no scheduler stops."""
        del config, max_steps
        return 1

    def phases(self, schedule: ValueSchedule) -> tuple[Phase, ...]:
        """Settings that follow those at the start, for values that changed during training."""
        del schedule
        return ()


class JobWork(Protocol):
    """The stages of the searched job that come before its students."""

    def check(self) -> None:
        """Check models and files before anything starts. Raises RaykdError."""

    def make_plan(self) -> JobPlan[Any]:
        """Make what all trials share; finished stages are skipped."""

    def test_rows(self) -> dict[str, TokenisedSet]:
        """Rows that the search never sees, by domain, tokenised for the student."""

    def teacher(self) -> tuple[str, dict[str, TokenisedSet]] | None:
        """Folder of the trained teacher, and the same rows tokenised for it; None without a single teacher."""

    def close(self) -> None:
        """Release the workers."""


def share_teacher_states(task: TrainTask, *, trainings: int, across_processes: bool = False) -> TrainTask:
    """Return the task with its teacher's states stored for ``trainings`` trainings, if it learns from features."""
    if not isinstance(task.objective, TeacherFeaturesConfig):
        return task
    sharing = {"trainings": trainings, "share_states": across_processes}
    return task.model_copy(update={"objective": task.objective.model_copy(update=sharing)})


def moved_task(task: TrainTask, folder: str) -> TrainTask:
    """Return the task in another folder."""
    return task.model_copy(update={"folder": folder})


def values_at_start(schedule: ValueSchedule) -> Mapping[str, Value]:
    """Values that a training begins with."""
    return schedule[0][1]
