"""Settings that give way to others while a model trains, each from a fraction of the steps on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Self, TypeVar

from torch import nn

from raykd.data.batch import Batch
from raykd.trainers.objective import Objective, ObjectiveOutput

T = TypeVar("T")


def at_progress(phases: Sequence[tuple[float, T]], progress: float) -> T:
    """What holds at a fraction of the steps. ``phases``: from which fraction on something holds, ascending from 0."""
    return next(value for start, value in reversed(phases) if start <= progress)


@dataclass(frozen=True)
class PhasedObjective(Objective):
    """Objectives that follow each other in one training."""

    phases: tuple[tuple[float, Objective], ...]
    """From which fraction of the steps on each holds, ascending from 0."""
    progress: float = 0.0
    """Where in training this objective stands, 0 .. 1; set by `at`."""

    @property
    def side_columns(self) -> tuple[str, ...]:
        """What any of them reads."""
        return tuple(dict.fromkeys(name for _, one in self.phases for name in one.side_columns))

    @property
    def needs_labels(self) -> bool:
        """Whether any of them does."""
        return any(one.needs_labels for _, one in self.phases)

    @property
    def trainable(self) -> Mapping[str, nn.Module]:
        """The first one's."""
        return self.phases[0][1].trainable

    def check(self, *, num_labels: int, whole_batch: bool) -> None:
        """Raises ConfigError when one of them cannot train the task."""
        for _, one in self.phases:
            one.check(num_labels=num_labels, whole_batch=whole_batch)

    def at(self, progress: float) -> Self:
        """The same at that point of training."""
        return replace(self, progress=progress)

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """What the objective that holds says."""
        return at_progress(self.phases, self.progress).at(self.progress)(model, batch)
