"""The interface that a job's configuration offers to searches over its values."""

from abc import abstractmethod
from typing import Any, ClassVar

from raykd.config.data import TASKS, TaskTraits
from raykd.config.section import Section
from raykd.config.training import TrainingConfig


class SearchedJob(Section):
    """A job whose values ``raykd tune`` can search. Each kind of job implements the rules for its own keys."""

    movable_paths: ClassVar[tuple[str, ...]] = ()
    """Values that population-based training can change while a student trains."""
    trials_report_early: ClassVar[bool] = True
    """True when a trial has a metric before its end, which schedulers that stop trials need."""
    step_paths: ClassVar[tuple[str, ...]] = ()
    """Values that the number of a trial's optimiser steps depends on."""
    fixed_paths: ClassVar[tuple[str, ...]] = ()
    """Values of student and teacher that define what is trained and compared, and are the same in every trial."""

    @property
    @abstractmethod
    def selected_training(self) -> TrainingConfig:
        """The training of a student whose metric compares trials."""

    @property
    @abstractmethod
    def teacher_models(self) -> tuple[str, ...]:
        """Models of the teachers."""

    @property
    @abstractmethod
    def shared_work(self) -> str:
        """Name of the work that is done once for all trials."""

    @property
    def trial_metric(self) -> str:
        """The metric on the validation rows that trials are compared by."""
        return self.selected_training.metric or self.verdict_metric

    @property
    def task(self) -> str:
        """Kind of the task."""
        return "single_label"

    @property
    def task_traits(self) -> TaskTraits:
        """Properties of the task."""
        return TASKS[self.task]

    @property
    def verdict_metric(self) -> str:
        """The metric on the test rows that verdicts are about."""
        return self.task_traits.headline

    @abstractmethod
    def default_space(self) -> dict[str, dict[str, Any]]:
        """The search space of a search that gives none."""

    @abstractmethod
    def trains_baseline(self, path: str) -> bool:
        """True when the student without distillation is trained with the value at ``path`` too."""

    def check_searchable(self) -> None:
        """Raise ValueError when the job cannot be searched."""

    def refuse_population(self) -> str | None:
        """Return the reason why population-based training cannot search the job, with the alternative, or None."""
        return None

    def refuse_teacher(self) -> str | None:
        """Return the reason why trials cannot train teachers of their own, or None."""
        return None

    def refuse_path(self, path: str) -> str | None:
        """Return the reason why trials cannot differ in the value at ``path``, with the alternative, or None."""
        if path.endswith("training.metric"):
            return "it is what trials are compared by; set it in the base (--set base.a.b=c)"
        fixed = any(path == one or path.startswith(f"{one}.") for one in self.fixed_paths)
        if fixed or not path.startswith(("student.", "teacher.")):
            return (
                "all trials share rows and models; search values of student or teacher, or run a search for each value of this "
                "one (--set base.a.b=c --set name=another)"
            )
        return self.refuse_teacher() if path.startswith("teacher.") else None
