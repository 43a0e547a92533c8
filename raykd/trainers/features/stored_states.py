"""A teacher's targets stored per row, where reading them costs less than running the teacher.

A frozen teacher computes the same targets for a row in every epoch, for every seed and every trial that distils from it. The
store keeps them in fp32, in files of fixed-size records on the worker's own disk, found by the row's name
(:mod:`raykd.trainers.features.state_files`). It is no side table in the row stream: a window of 2,048 rows of half a megabyte
each would have to fit into memory, whereas records are read for the batch at hand.
"""

import dataclasses
import functools
import hashlib
import itertools
import json
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

from raykd.data.batch import Batch, copied_to
from raykd.data.tokenised_set import TokenisedSet
from raykd.trainers.events import TeacherStatesChosen, TrainingEvent
from raykd.trainers.features.live_teacher import LiveTeacher, TeacherTargets, token_axes
from raykd.trainers.features.state_files import PrivateFiles, SharedFiles, StateFiles, StoredArray, TargetSource, shared_folder

Source = Literal["auto", "live", "stored"]
TIMED_BATCHES, WARM_UP = 6, 2
"""Batches that are timed before the choice, and how many of them do not count."""
DISK_SHARE = 0.5
"""Part of the free disk that the stores of all workers may take, should they share one disk."""


class StateStore:
    """Targets of a tokenised set's rows, and the choice between reading them and running the teacher."""

    def __init__(self, rows: TokenisedSet, files: StateFiles | None = None) -> None:
        self.rows = rows
        self._files: StateFiles = files or PrivateFiles()
        self._first = np.concatenate([[0], np.cumsum([source.rows for source in rows.sources])])
        self._has = self._files.flags(int(self._first[-1]))
        self._arrays: dict[str, StoredArray] = {}

    @property
    def choice(self) -> TargetSource | None:
        """Result of the timing; None before."""
        return self._files.choice

    @choice.setter
    def choice(self, value: TargetSource) -> None:
        self._files.choice = value

    def has(self, batch: Batch) -> NDArray[np.bool_]:
        """Flags of its rows that are stored, ``[B]``."""
        with self._files.locked():
            found: NDArray[np.bool_] = self._has[self._index(batch)]
        return found

    def _index(self, batch: Batch) -> NDArray[np.int64]:
        names = batch.row_ids.numpy()
        index: NDArray[np.int64] = self._first[names[:, 0]] + names[:, 1]
        return index

    def bytes_for(self, targets: TeacherTargets) -> int:
        """Size of the files for targets like these."""
        return sum(4 * len(self._has) * int(np.prod(self._shape(name, value))) for name, value in targets.named().items())

    def _shape(self, name: str, value: Tensor) -> tuple[int, ...]:
        """A record's shape: token axes reach up to the longest row of the set."""
        longest = self.rows.max_length
        shapes = {1: (longest, value.shape[-1]), 2: (*value.shape[1:-2], longest, longest)}
        return shapes.get(token_axes(name), tuple(value.shape[1:]))

    def write(self, batch: Batch, targets: TeacherTargets) -> None:
        """Store all rows of a batch."""
        index, named = self._index(batch), targets.named()
        if not self._arrays:
            self._arrays = self._files.arrays(
                {name: (len(self._has), *self._shape(name, value)) for name, value in named.items()}
            )
        for name, value in named.items():
            array = self._arrays[name]
            slices = _token_slices(name, value.shape[-2], array.shape)
            array[(index, *slices)] = value.float().cpu().numpy()[(slice(None), *slices)]
        with self._files.locked():
            self._has[index] = True

    def read(self, batch: Batch) -> TeacherTargets:
        """The targets of a batch whose rows are all stored, padded as the batch is."""
        index, length = self._index(batch), batch.input_ids.shape[1]
        self._arrays = self._arrays or self._files.arrays(None)  # another process may have made them
        named = {}
        for name, array in self._arrays.items():
            stored = torch.from_numpy(np.asarray(array[(index, *_token_slices(name, length, array.shape))]))
            named[name] = copied_to(_pad(name, stored, length), batch.input_ids.device)
        return TeacherTargets.from_named(named)

    def drop(self) -> None:
        """Free the disk."""
        self._arrays.clear()
        with self._files.locked():
            self._has[:] = False

    def close(self) -> None:
        """Leave the files that processes share."""
        self._arrays.clear()
        self._files.close()


def _token_slices(name: str, length: int, shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of a record that holds a batch's tokens: the padding of a batch may be longer than the longest row."""
    axes = token_axes(name)
    kept = slice(min(length, shape[-2])) if axes else slice(None)
    return {0: (), 1: (kept,), 2: (slice(None), kept, kept)}[axes]


def _pad(name: str, values: Tensor, length: int) -> Tensor:
    more = length - values.shape[-2] if token_axes(name) else 0
    if more <= 0:
        return values
    return nn.functional.pad(values, (0, more, 0, more) if token_axes(name) == 2 else (0, 0, 0, more))


@dataclass(frozen=True)
class Cost:
    """Median seconds per timed batch."""

    live: float
    """The teacher's forward pass."""
    write: float
    read: float
    student: float
    """Everything between two calls: the student's step."""


@dataclass(eq=False)
class CachedTeacher:
    """A live teacher or the store of its targets, whichever costs less by the first batches; both give the same targets."""

    live: LiveTeacher
    store: StateStore
    uses: float
    """Times this worker will want a row's targets, over all trainings that read the store."""
    workers: int = 1
    """Workers that each store the rows they meet."""
    source: Source = "auto"
    report: Callable[[TrainingEvent], None] | None = None
    """Receives the choice and its reasons, once."""
    clock: Callable[[Batch], float] = field(default_factory=lambda: _now)
    """Seconds, once all work queued on the batch's device is done."""
    _timed: list[Cost] = field(default_factory=list)
    _left: float | None = None

    @property
    def model(self) -> Any:
        """See :class:`~raykd.trainers.features.live_teacher.Teacher`."""
        return self.live.model

    def __call__(self, batch: Batch) -> TeacherTargets:
        """Compute or read the targets, without gradients."""
        choice = self.source if self.source != "auto" else self.store.choice
        if choice == "live" or not batch.all_valid:
            return self.live(batch)
        return self._stored(batch) if choice == "stored" else self._time(batch)

    def _stored(self, batch: Batch) -> TeacherTargets:
        """Read the targets of all rows, after computing those that are missing."""
        missing = ~self.store.has(batch)
        if missing.any():
            part = _take(batch, torch.from_numpy(np.flatnonzero(missing)))
            self.store.write(part, self.live(part))
        return self.store.read(batch)

    def _time(self, batch: Batch) -> TeacherTargets:
        """Time one batch; choose after the last one."""
        times = [self.clock(batch)]
        student = times[0] - self._left if self._left is not None else 0.0
        targets = self.live(batch)
        times.append(self.clock(batch))
        self.store.write(batch, targets)
        times.append(self.clock(batch))
        self.store.read(batch)
        times.append(self.clock(batch))
        live, write, read = (after - before for before, after in itertools.pairwise(times))
        self._timed.append(Cost(live, write, read, student))
        if len(self._timed) == TIMED_BATCHES:
            self._choose(targets)
        self._left = self.clock(batch)
        return targets

    def _choose(self, targets: TeacherTargets) -> None:
        counted = self._timed[WARM_UP:]
        cost = Cost(**{name: statistics.median(getattr(one, name) for one in counted) for name in Cost.__annotations__})
        limit_bytes = shutil.disk_usage(tempfile.gettempdir()).free * DISK_SHARE / self.workers
        size = self.store.bytes_for(targets)
        choice: TargetSource = "stored" if size <= limit_bytes and storing_pays(cost, self.uses, self.workers) else "live"
        self.store.choice = choice
        if choice == "live":
            self.store.drop()
        if self.report is not None:
            seconds = dataclasses.asdict(cost)
            self.report(TeacherStatesChosen(step=0, chosen=choice, seconds=seconds, bytes=size, limit_bytes=int(limit_bytes)))


def storing_pays(cost: Cost, uses: float, workers: int) -> bool:
    """True when the store costs less than the teacher, over ``uses`` of a row by all workers.

    A worker meets a row in ``1 / workers`` of the uses, and computes its targets the first time.
    """
    met = uses / workers
    first = 1 - (1 - 1 / workers) ** uses
    return bool(first * (cost.live + cost.write) + met * cost.read < met * cost.live)


def _take(batch: Batch, rows: Tensor) -> Batch:
    """Some of a batch's rows, by their positions on the CPU."""
    there = copied_to(rows, batch.input_ids.device)
    return batch.each_tensor(lambda tensor: tensor[there], on_cpu=lambda tensor: tensor[rows])


def _now(batch: Batch) -> float:
    if batch.input_ids.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter()


def open_store(rows: TokenisedSet, teacher: tuple[object, ...], *, shared: bool) -> StateStore:
    """The store of a teacher's targets on some rows; the trainings of this process, or of this machine, share it.

    ``teacher`` identifies everything the targets depend on. A store stays open until another one is asked for.
    """
    if not shared:
        return _private_store(rows.path, teacher)
    text = json.dumps([teacher], sort_keys=True, default=str)
    return _shared_store(rows, hashlib.blake2b(text.encode(), digest_size=16).hexdigest())


@functools.lru_cache(maxsize=1)
def _private_store(rows: str, _teacher: tuple[object, ...]) -> StateStore:
    return StateStore(TokenisedSet.open(rows))


_SHARED: dict[tuple[str, str], StateStore] = {}
"""Stores that other processes of this machine use too, by teacher and rows; of one teacher at a time."""


def _shared_store(rows: TokenisedSet, teacher: str) -> StateStore:
    if any(known != teacher for known, _ in _SHARED):
        close_shared_stores()
    if (teacher, rows.path) not in _SHARED:
        _SHARED[teacher, rows.path] = StateStore(rows, SharedFiles(shared_folder(f"{teacher}-{rows.fingerprint}")))
    return _SHARED[teacher, rows.path]


def close_shared_stores() -> None:
    """Leave the stores that processes share: the last process to leave removes the files."""
    for store in _SHARED.values():
        store.close()
    _SHARED.clear()
