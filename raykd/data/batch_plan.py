"""The order of the training rows: a pure function of seed and data, sliced the same way for any number of workers.

Row groups are permuted once an epoch into one stream, which is cut into pools; the rows of a pool are shuffled and cut into
windows; a window is sorted by length and cut into batches, whose order is shuffled. Positions of pools, windows and batches
are computed, so any step is found without generating the steps before it; memory holds the order of one pool.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.data.epoch_steps import EpochSteps
from raykd.errors import DataError


@dataclass(frozen=True, eq=False)
class PlannedBatch:
    """One global batch: rows named by row group and offset in it, in order; every rank takes a slice."""

    epoch: int
    index: int
    """Number of the batch in its epoch."""
    step: int
    """Number of the batch in the run, from 0."""
    groups: NDArray[np.int32]
    """Row group of each row, ``[n]``."""
    offsets: NDArray[np.int32]
    """Row number inside its group, ``[n]``."""
    longest: int
    """Longest row of the whole batch in tokens."""

    @property
    def num_rows(self) -> int:
        """Rows of the global batch."""
        return len(self.groups)


def slice_bounds(num_rows: int, rank: int, world: int) -> tuple[int, int]:
    """Start and stop of one rank's rows in a batch of `num_rows`; sizes differ by one row at most.

    Raises ValueError when the rank lies outside the world.
    """
    if not 0 <= rank < world:
        raise ValueError(f"rank {rank} does not exist in a world of {world}; ranks are 0 to world - 1")
    return rank * num_rows // world, (rank + 1) * num_rows // world


@dataclass(frozen=True, eq=False)
class _Pool:
    """Rows that are shuffled together, already in shuffled order; three ``[n]`` arrays."""

    groups: NDArray[np.int32]
    offsets: NDArray[np.int32]
    lengths: NDArray[np.int32]


class BatchPlan(EpochSteps):
    """Global batches of every epoch, from the sizes of the row groups and the lengths of their rows.

    A pure function of seed, batch size, window, fingerprint and lengths: no global random state, and no numpy distribution
    that a new version may change (Philox words and a stable sort only). Every row occurs once in every epoch; only the last
    batch of an epoch may be short.
    """

    def __init__(
        self,
        group_rows: NDArray[np.int64],
        lengths: Callable[[int], NDArray[Any]],
        *,
        seed: int,
        batch_size: int,
        window: int = 64,
        fingerprint: str,
        whole_batches: bool = False,
    ) -> None:
        """Plan over row groups of `group_rows` rows, ``[G]``; `lengths(g)` gives the tokens of each row of group g.

        `batch_size` is in rows over all ranks, `window` in batches. `whole_batches` leaves the rows out that would make the
        last batch of an epoch short, other ones in each epoch. Raises ValueError when one of them is below 1, and
        DataError when there are no rows.
        """
        if batch_size < 1 or window < 1:
            raise ValueError(f"batch_size = {batch_size} and window = {window} must be 1 or more")
        self._group_rows = np.asarray(group_rows, dtype=np.int64)
        self._lengths = lengths
        self._key = f"{fingerprint}:{seed}"
        rows = int(self._group_rows.sum())
        super().__init__(rows - rows % batch_size if whole_batches else rows, batch_size=batch_size, window=window)
        if self._total == 0:
            raise DataError("there are no rows to plan batches from; check the files, the filters and the rejected rows")
        self._stream_cache: tuple[int, NDArray[np.intp], NDArray[np.int64]] | None = None
        self._pool_cache: tuple[tuple[int, int], _Pool] | None = None

    def num_rows(self, step: int) -> int:
        """Rows of the global batch of a step, known without any length."""
        index = step % self.batches_per_epoch
        return min(self._batch_size, self._total - index * self._batch_size)

    def window(self, epoch: int, w: int) -> list[PlannedBatch]:
        """The batches of window w of an epoch, in order. Raises IndexError when the epoch has no such window."""
        self.check_window(w)
        pool = self._pool(epoch, w // self._windows_per_pool)
        rows = self._window * self._batch_size
        start = w % self._windows_per_pool * rows
        lengths = pool.lengths[start : start + rows]
        by_length = start + np.argsort(lengths, kind="stable")  # ties keep the pool's shuffled order
        count = -(-len(lengths) // self._batch_size)
        order = self._permutation(count, "batches", epoch, w)
        sizes = np.full(count, self._batch_size)
        # the short batch comes last, but its position in the length order is drawn: else it would always hold the longest rows
        sizes[order[-1]] = len(lengths) - (count - 1) * self._batch_size
        cuts = np.split(by_length, np.cumsum(sizes)[:-1])
        return [self._batch(epoch, w * self._window + i, pool, cuts[j]) for i, j in enumerate(order)]

    def batches(self, start_step: int, stop_step: int) -> Iterator[PlannedBatch]:
        """The batches of steps `start_step` to `stop_step` (not included), over as many epochs as they span."""
        step = start_step
        while step < stop_step:
            epoch, w = self.epoch_of(step), self.window_of(step)
            batches = self.window(epoch, w)
            for batch in batches[step - batches[0].step : stop_step - batches[0].step]:
                yield batch
                step += 1

    def _batch(self, epoch: int, index: int, pool: _Pool, rows: NDArray[np.intp]) -> PlannedBatch:
        return PlannedBatch(
            epoch=epoch,
            index=index,
            step=epoch * self.batches_per_epoch + index,
            groups=pool.groups[rows],
            offsets=pool.offsets[rows],
            longest=int(pool.lengths[rows].max()),
        )

    def _pool(self, epoch: int, p: int) -> _Pool:
        if self._pool_cache is None or self._pool_cache[0] != (epoch, p):
            self._pool_cache = ((epoch, p), self._shuffled_pool(epoch, p))
        return self._pool_cache[1]

    def _shuffled_pool(self, epoch: int, p: int) -> _Pool:
        order, starts = self._stream(epoch)
        rows = self._windows_per_pool * self._window * self._batch_size
        begin, end = p * rows, min((p + 1) * rows, self._total)
        first, last = np.searchsorted(starts, begin, side="right") - 1, np.searchsorted(starts, end, side="left")
        groups, offsets, lengths = [], [], []
        for i in range(int(first), int(last)):
            low, high = max(begin - int(starts[i]), 0), min(end, int(starts[i + 1])) - int(starts[i])
            group = int(order[i])
            chosen = (np.arange(low, high, dtype=np.int32) + self._rotation(epoch, group)) % max(self._group_rows[group], 1)
            groups.append(np.full(high - low, group, dtype=np.int32))
            offsets.append(chosen.astype(np.int32))
            lengths.append(self._group_lengths(group)[chosen])
        shuffle = self._permutation(end - begin, "rows", epoch, p)
        return _Pool(*(np.concatenate(parts)[shuffle] for parts in (groups, offsets, lengths)))

    def _rotation(self, epoch: int, group: int) -> int:
        """Row of a group that its part of the stream begins with; drawn where rows are left out, which the last ones are."""
        if self._total == self._group_rows.sum() or not self._group_rows[group]:
            return 0
        return int(self._permutation(int(self._group_rows[group]), "rotation", epoch, group)[0])

    def _group_lengths(self, group: int) -> NDArray[np.int32]:
        lengths = np.asarray(self._lengths(group), dtype=np.int32)
        if len(lengths) != self._group_rows[group]:
            raise DataError(
                f"row group {group} holds {len(lengths)} rows, but its manifest {self._group_rows[group]}; "
                "delete the prepared set and prepare it again"
            )
        return lengths

    def _stream(self, epoch: int) -> tuple[NDArray[np.intp], NDArray[np.int64]]:
        """Row groups in this epoch's order ``[G]`` and the stream position at which each starts ``[G + 1]``."""
        if self._stream_cache is None or self._stream_cache[0] != epoch:
            order = self._permutation(len(self._group_rows), "groups", epoch, 0)
            starts = np.concatenate([[0], np.cumsum(self._group_rows[order])])
            self._stream_cache = (epoch, order, starts)
        return self._stream_cache[1], self._stream_cache[2]

    def _permutation(self, size: int, what: str, epoch: int, number: int) -> NDArray[np.intp]:
        return philox_permutation(f"{self._key}:{what}:{epoch}:{number}", size)


def philox_permutation(key: str, size: int) -> NDArray[np.intp]:
    """A permutation of `size` places that depends on the text alone, whatever the version of numpy."""
    number = int.from_bytes(hashlib.blake2b(key.encode(), digest_size=16).digest(), "little")
    return np.argsort(np.random.Philox(key=number).random_raw(size), kind="stable")
