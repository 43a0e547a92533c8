"""Settings that change at given fractions of a training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

from torch import nn

from raykd.data.batch import Batch
from raykd.trainers.objective import Objective, ObjectiveOutput
from raykd.trainers.schedule import at_progress


@dataclass(frozen=True)
class PhasedObjective(Objective):
    """Objectives that follow each other in one training."""

    phases: tuple[tuple[float, Objective], ...]
    """The fraction of the steps from which each objective holds, ascending from 0."""
    progress: float = 0.0
    """Fraction of the training done, 0 .. 1; set by `at`."""

    @property
    def side_columns(self) -> tuple[str, ...]:
        """Columns that any of them reads."""
        return tuple(dict.fromkeys(name for _, one in self.phases for name in one.side_columns))

    @property
    def needs_labels(self) -> bool:
        """True when any of them does."""
        return any(one.needs_labels for _, one in self.phases)

    @property
    def takes_unlabelled(self) -> bool:
        """True when all of them do."""
        return all(one.takes_unlabelled for _, one in self.phases)

    @property
    def trainable(self) -> Mapping[str, nn.Module]:
        """Auxiliary modules of the first."""
        return self.phases[0][1].trainable

    @property
    def frozen(self) -> nn.Module | None:
        """Frozen teacher of the first that has one."""
        return next((one.frozen for _, one in self.phases if one.frozen is not None), None)

    def check(self, *, num_labels: int, whole_batch: bool) -> None:
        """Raises ConfigError when one of them cannot train the task."""
        for _, one in self.phases:
            one.check(num_labels=num_labels, whole_batch=whole_batch)

    def at(self, progress: float) -> Self:
        """Return the same objectives at that point of training."""
        return replace(self, progress=progress)

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """Apply the objective of the current phase."""
        return at_progress(self.phases, self.progress).at(self.progress)(model, batch)
