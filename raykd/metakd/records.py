"""A teacher's states from records of them, where that costs less than the teacher itself.

A frozen teacher says the same of a row in every epoch, for every seed and every trial that distils from it. A record holds what
the layer map asks for, in fp32, in a file of fixed-size records on the worker's own disk, found by the row's name
(:mod:`raykd.metakd.state_files`). It is no side table in the rows' stream: a window of 2,048 rows, half a megabyte each, would
have to fit into memory; records are read for the batch at hand.
"""

import dataclasses
import itertools
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from raykd.data.batch import Batch
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd.state_files import Array, Chosen, Files, OwnFiles
from raykd.metakd.targets import LiveTeacher, Targets
from raykd.trainers.events import TeacherStatesChosen, TrainingEvent

Source = Literal["auto", "live", "stored"]
TRIALS, WARM_UP = 6, 2
"""Batches that are timed before the choice, and how many of them do not count."""
DISK_SHARE = 0.5
"""Part of the free disk that all workers' records may take, should they share one."""


class Records:
    """Records of a prepared set's rows, and what was found out about their cost."""

    def __init__(self, rows: TokenisedSet, files: Files | None = None) -> None:
        self.rows = rows
        self._files: Files = files or OwnFiles()
        self._first = np.concatenate([[0], np.cumsum([source.rows for source in rows.sources])])
        self._has = self._files.flags(int(self._first[-1]))
        self._arrays: dict[str, Array] = {}

    @property
    def chosen(self) -> Chosen | None:
        """What the trials ended with; none before."""
        return self._files.chosen

    @chosen.setter
    def chosen(self, value: Chosen) -> None:
        self._files.chosen = value

    def has(self, batch: Batch) -> NDArray[np.bool_]:
        """Which of its rows are recorded, ``[B]``."""
        with self._files.changing():
            found: NDArray[np.bool_] = self._has[self._index(batch)]
        return found

    def _index(self, batch: Batch) -> NDArray[np.int64]:
        names = batch.row_ids.cpu().numpy()
        index: NDArray[np.int64] = self._first[names[:, 0]] + names[:, 1]
        return index

    def bytes_for(self, targets: Targets) -> int:
        """Size of the file for records like these."""
        return sum(4 * len(self._has) * int(np.prod(self._shape(name, value))) for name, value in targets.named().items())

    def _shape(self, name: str, value: Tensor) -> tuple[int, ...]:
        """A record's shape: tokens, where the tensor has an axis of them, up to the longest row of the set."""
        longest = self.rows.max_length
        kind = name.rstrip("0123456789")
        return {"hidden": (longest, value.shape[-1]), "scores": (value.shape[1], longest, longest)}.get(kind, value.shape[1:])

    def write(self, batch: Batch, targets: Targets) -> None:
        """Record all rows of a batch."""
        index, named = self._index(batch), targets.named()
        if not self._arrays:
            self._arrays = self._files.arrays(
                {name: (len(self._has), *self._shape(name, value)) for name, value in named.items()}
            )
        for name, value in named.items():
            array = self._arrays[name]
            places = _places(name, value.shape[-2:], array.shape)
            array[(index, *places)] = value.float().cpu().numpy()[(slice(None), *places)]
        with self._files.changing():
            self._has[index] = True

    def read(self, batch: Batch) -> Targets:
        """The records of a batch whose rows are all recorded, padded as it is."""
        index, length = self._index(batch), batch.input_ids.shape[1]
        self._arrays = self._arrays or self._files.arrays(None)  # another process may have made them
        named = {}
        for name, array in self._arrays.items():
            stored = torch.from_numpy(np.asarray(array[(index, *_places(name, (length, length), array.shape))]))
            more = length - array.shape[-1 if name.startswith("scores") else -2]
            if more > 0 and name.startswith(("hidden", "scores")):
                stored = nn.functional.pad(stored, (0, more, 0, more) if name.startswith("scores") else (0, 0, 0, more))
            named[name] = stored.to(batch.input_ids.device)
        return Targets.of(named)

    def drop(self) -> None:
        """Give the disk back."""
        self._arrays.clear()
        with self._files.changing():
            self._has[:] = False

    def close(self) -> None:
        """Take no further part in records that processes share."""
        self._arrays.clear()
        self._files.close()


def _places(name: str, lengths: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """Which part of a record holds a batch's tokens: the padding of a batch may be longer than the longest row."""
    if name.startswith("scores"):
        kept = slice(min(lengths[-1], shape[-1]))
        return slice(None), kept, kept
    return (slice(min(lengths[0], shape[-2])),) if name.startswith("hidden") else ()


@dataclass(frozen=True)
class Cost:
    """Median seconds of a batch of the trials."""

    live: float
    """The teacher's forward pass."""
    write: float
    read: float
    student: float
    """Everything between two calls: the student's step."""


@dataclass(eq=False)
class ThriftyTeacher:
    """A live teacher, or the records of it, whichever costs less; the first batches find out. Both give the same targets."""

    live: LiveTeacher
    records: Records
    uses: float
    """How often this worker is going to want a row's targets, over all trainings that read the records."""
    workers: int = 1
    """Workers that each record what they come across."""
    source: Source = "auto"
    report: Callable[[TrainingEvent], None] | None = None
    """Receives the choice and its measurements, once."""
    clock: Callable[[Batch], float] = field(default_factory=lambda: _now)
    """Seconds, when everything asked of the batch's device is done."""
    _trials: list[Cost] = field(default_factory=list)
    _left: float | None = None

    @property
    def model(self) -> Any:
        """See :class:`~raykd.metakd.targets.FeatureTeacher`."""
        return self.live.model

    def __call__(self, batch: Batch) -> Targets:
        """Without gradients."""
        chosen = self.source if self.source != "auto" else self.records.chosen
        if chosen == "live" or not bool(batch.valid.all()):
            return self.live(batch)
        return self._stored(batch) if chosen == "stored" else self._try(batch)

    def _stored(self, batch: Batch) -> Targets:
        """Records of all rows; those that are not there yet are made."""
        missing = ~self.records.has(batch)
        if missing.any():
            part = _some(batch, torch.from_numpy(np.flatnonzero(missing)).to(batch.input_ids.device))
            self.records.write(part, self.live(part))
        return self.records.read(batch)

    def _try(self, batch: Batch) -> Targets:
        """One trial; after the last one the choice."""
        times = [self.clock(batch)]
        student = times[0] - self._left if self._left is not None else 0.0
        targets = self.live(batch)
        times.append(self.clock(batch))
        self.records.write(batch, targets)
        times.append(self.clock(batch))
        self.records.read(batch)
        times.append(self.clock(batch))
        live, write, read = (after - before for before, after in itertools.pairwise(times))
        self._trials.append(Cost(live, write, read, student))
        if len(self._trials) == TRIALS:
            self._choose(targets)
        self._left = self.clock(batch)
        return targets

    def _choose(self, targets: Targets) -> None:
        counted = self._trials[WARM_UP:]
        cost = Cost(**{name: statistics.median(getattr(one, name) for one in counted) for name in Cost.__annotations__})
        room = shutil.disk_usage(tempfile.gettempdir()).free * DISK_SHARE / self.workers
        size = self.records.bytes_for(targets)
        chosen: Chosen = "stored" if size <= room and saves(cost, self.uses, self.workers) else "live"
        self.records.chosen = chosen
        if chosen == "live":
            self.records.drop()
        if self.report is not None:
            self.report(
                TeacherStatesChosen(step=0, chosen=chosen, seconds=dataclasses.asdict(cost), bytes=size, room=int(room))
            )


def saves(cost: Cost, uses: float, workers: int) -> bool:
    """Whether records cost less than the teacher, over ``uses`` of a row by all workers.

    A worker meets a row in a ``1 / workers`` of the uses, and computes it when it meets it first.
    """
    met = uses / workers
    first = 1 - (1 - 1 / workers) ** uses
    return bool(first * (cost.live + cost.write) + met * cost.read < met * cost.live)


def _some(batch: Batch, index: Tensor) -> Batch:
    """Some of a batch's rows."""
    changed: dict[str, object] = {"extras": {name: value[index] for name, value in batch.extras.items()}}
    for name in (one.name for one in dataclasses.fields(batch)):
        value = getattr(batch, name)
        if isinstance(value, Tensor):
            changed[name] = value[index]
    return dataclasses.replace(batch, **changed)  # type: ignore[arg-type]


def _now(batch: Batch) -> float:
    if batch.input_ids.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()
