"""Records of trials: one JSON file each, written when a trial starts, reports and ends. A search resumes from them.

Ray Tune's own snapshot of a search is pickled every few seconds, so that a trial which ended in between would run again.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from raykd.config.search_space import Value
from raykd.data import storage
from raykd.report.record import Record

ValueSchedule = tuple[tuple[float, dict[str, Value]], ...]
"""Values by the fraction of the steps from which they apply; the first ones apply from the start."""
Status = Literal["running", "finished", "stopped", "failed"]
ENDED: tuple[Status, ...] = ("finished", "stopped", "failed")


class SharedWorkCount(Record):
    """Counts of the work that trials should share instead of repeating it."""

    teacher_trainings: int = 0
    """Teachers and meta-teachers trained."""
    logit_exports: int = 0
    """Passes of a teacher over training rows for its logits."""
    teacher_forwards: int = 0
    """Forward passes, of one batch each, of a teacher that runs beside a student."""

    def __add__(self, other: "SharedWorkCount") -> "SharedWorkCount":
        return SharedWorkCount(**{name: getattr(self, name) + getattr(other, name) for name in type(self).model_fields})


class LineagePart(Record):
    """A part of a training under population-based training: the trial that trained the weights, and its values meanwhile."""

    step: int
    """Optimiser steps of the weights when the part began."""
    trial: int
    """Number of the trial that trained them from then on."""
    values: dict[str, Value]
    """The trial's values meanwhile, by path."""


class TrialRecord(Record):
    """One trial."""

    index: int
    """Its number, from 0."""
    values: dict[str, Value]
    """Its values by path; those at its end if they changed during training."""
    status: Status = "running"
    """stopped: ended early by the scheduler; failed: ended by an error, after all retries."""
    value: float | None = None
    """Best of the metric on the validation rows, over all of its lineage; for several domains the mean of their bests."""
    step: int = 0
    """Optimiser steps done, over all its trainings."""
    curve: tuple[tuple[int, float], ...] = ()
    """Best so far by optimiser step."""
    seconds: float = 0.0
    """Time of training and evaluation, without waiting for resources."""
    attempts: int = 1
    """Times it was started."""
    reason: str | None = None
    """Error of the failed trial, or of its last failed attempt."""
    work: SharedWorkCount = SharedWorkCount()
    """Work of this trial that trials should share."""
    lineage: tuple[LineagePart, ...] = ()
    """Lineage of its weights under population-based training: the parts of other trials that it took over, and its own last."""

    @property
    def ended(self) -> bool:
        """True when it needs no further work."""
        return self.status in ENDED

    def schedule(self, total_steps: int) -> "ValueSchedule":
        """Its values over a training of ``total_steps``."""
        if not self.lineage:
            return ((0.0, self.values),)
        return tuple((one.step / total_steps, one.values) for one in self.lineage)

    @property
    def values_changed(self) -> bool:
        """True when its weights were trained with different values over time."""
        return len(self.lineage) > 1


@dataclass(frozen=True)
class TrialJournal:
    """The trials of one search, in a folder of their own."""

    folder: str

    def trial_folder(self, index: int) -> str:
        """Folder of a trial."""
        return storage.join(self.folder, f"{index:04d}")

    def write(self, record: TrialRecord) -> None:
        """Replace a trial's file."""
        storage.write_json(self._path(record.index), record.model_dump(mode="json"))

    def read(self) -> list[TrialRecord]:
        """All trials that were started, in order."""
        return list(self._read())

    def _read(self) -> Iterator[TrialRecord]:
        for folder in storage.list_dir(self.folder):
            path = storage.join(folder, "trial.json")
            if storage.exists(path):
                yield TrialRecord.model_validate(storage.read_json(path))

    def _path(self, index: int) -> str:
        return storage.join(self.trial_folder(index), "trial.json")


def best_of(records: list[TrialRecord], mode: Literal["min", "max"]) -> TrialRecord | None:
    """The trial with the best value, the earlier of two that are equal; None when no trial has one."""
    sign = 1 if mode == "max" else -1
    found = [record for record in records if record.value is not None and record.status != "failed"]
    return max(found, key=lambda record: (sign * (record.value or 0.0), -record.index), default=None)
