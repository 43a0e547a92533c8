"""Reader of planned rows: Parquet row groups joined with their side tables.

Reading tasks of Ray Data run it in a fresh process whose imports delay the first batch: neither torch nor Ray is imported here.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raykd.data.batch_plan import BatchPlan, PlannedBatch, slice_bounds
from raykd.data.folds import Fold
from raykd.data.mixed_plan import MixedPlan
from raykd.data.side_tables import SideTable, join
from raykd.data.tokenised_set import TokenisedSet

STEP_COLUMNS = ("step", "longest", "slice_rows")
"""Columns that a reader adds: the row's step, tokens of its batch's longest row, and the number of the rank's rows in it."""

Plan = BatchPlan | MixedPlan
"""The order of the training rows."""


@dataclass(frozen=True)
class ReadRequest:
    """One rank's rows of the steps from ``start_step`` to ``stop_step`` (not included)."""

    prepared: str
    """Folder of the tokenised set."""
    side_tables: tuple[str, ...]
    """Folders of the side tables whose columns are joined to the tokens."""
    _: KW_ONLY
    seed: int
    batch_size: int
    window: int = 64
    rank: int
    world: int
    start_step: int
    stop_step: int
    without: Fold | None = None
    """Fold of the rows to exclude."""
    unlabelled_fraction: float | None = None
    """Share of unlabelled rows in every global batch, where the set has any; None takes rows of both kinds as they come."""

    def open(self) -> tuple[TokenisedSet, list[SideTable]]:
        """The tables. Raises DataError when one is absent or a side table was made for other rows."""
        prepared = TokenisedSet.open(self.prepared)
        sides = [SideTable.open(path) for path in self.side_tables]
        for side in sides:
            side.check_fits(prepared)
        if self.without is not None:
            self.without.check_fits(prepared)
        return prepared, sides

    def plan(self, prepared: TokenisedSet, lengths: Callable[[int], NDArray[Any]]) -> Plan:
        """The order of the rows of a prepared set. Raises ConfigError when a batch takes more rows of a kind than there are."""
        group_rows = prepared.group_rows if self.without is None else self.without.rows_outside
        settings: dict[str, Any] = {
            "seed": self.seed,
            "batch_size": self.batch_size,
            "window": self.window,
            "fingerprint": prepared.fingerprint,
        }
        fraction, labelled = self.unlabelled_fraction, prepared.labelled_groups
        if fraction is None or labelled is None:
            return BatchPlan(group_rows, lengths, **settings)
        return MixedPlan(group_rows, lengths, labelled_groups=labelled, fraction=fraction, **settings)

    def slice_of(self, num_rows: int) -> tuple[int, int]:
        """Start and stop of this rank's rows in a global batch."""
        return slice_bounds(num_rows, self.rank, self.world)


class PlannedReader:
    """Reads one pool of row groups at a time, each group once; memory holds one pool."""

    def __init__(self, request: ReadRequest) -> None:
        """Raises DataError when a table is absent or a side table was made for other rows."""
        self._request = request
        self._prepared, self._sides = request.open()
        self._pool = -1
        self._groups: dict[int, pa.Table] = {}
        self.plan = request.plan(self._prepared, self._lengths)

    def pools(self) -> range:
        """Pools, numbered over all epochs, that contain the steps of the request."""
        request = self._request
        if request.start_step >= request.stop_step:
            return range(0)
        return range(self._pool_of(request.start_step), self._pool_of(request.stop_step - 1) + 1)

    def read(self, pool: int) -> Iterator[pa.Table]:
        """The rank's rows of each window of a pool, in planned order, with the columns of :data:`STEP_COLUMNS`.

        Where the rank has no rows of a batch, a row of another rank is the placeholder, with ``slice_rows`` 0: it holds the
        step and the length of the longest row. Raises DataError when a part file is damaged or a side table has other rows.
        """
        if pool != self._pool:
            self._pool = pool
            self._groups.clear()
        steps = range(self._request.start_step, self._request.stop_step)
        epoch, number = divmod(pool, self.plan.pools_per_epoch)
        first = number * self.plan.windows_per_pool
        windows = [
            [batch for batch in self.plan.window(epoch, w) if batch.step in steps]
            for w in range(first, min(first + self.plan.windows_per_pool, self.plan.windows_per_epoch))
        ]
        planned = [batches for batches in windows if batches]
        for group in np.unique(np.concatenate([batch.groups for batches in planned for batch in batches])) if planned else ():
            self._group(int(group))  # a plan that knows the lengths of a group does not ask for them again
        merged = pa.concat_tables(self._groups.values()).combine_chunks() if planned else None
        for batches in planned:
            yield self._take(merged, batches)

    def _take(self, merged: pa.Table, batches: Sequence[PlannedBatch]) -> pa.Table:
        slices = [self._request.slice_of(batch.num_rows) for batch in batches]
        bounds = [(start, stop) if stop > start else (0, 1) for start, stop in slices]
        groups = np.concatenate([batch.groups[start:stop] for batch, (start, stop) in zip(batches, bounds, strict=True)])
        offsets = np.concatenate([batch.offsets[start:stop] for batch, (start, stop) in zip(batches, bounds, strict=True)])
        table = merged.take(pa.array(self._starts()[groups] + offsets))
        carried = (
            [batch.step for batch in batches],
            [batch.longest for batch in batches],
            [stop - start for start, stop in slices],
        )
        counts = [stop - start for start, stop in bounds]
        for name, values in zip(STEP_COLUMNS, carried, strict=True):
            table = table.append_column(name, pa.array(np.repeat(np.array(values, dtype=np.int64), counts)))
        return table

    def _starts(self) -> NDArray[np.int64]:
        """Row of the merged table at which each row group starts, by group number."""
        starts = np.full(len(self._prepared.group_rows), -1, dtype=np.int64)
        numbers = list(self._groups)
        starts[numbers] = np.cumsum([0] + [self._groups[number].num_rows for number in numbers[:-1]])
        return starts

    def _lengths(self, group: int) -> NDArray[np.int32]:
        lengths: NDArray[np.int32] = self._group(group)["length"].to_numpy()
        return lengths

    def _group(self, group: int) -> pa.Table:
        """A row group with its side tables, read once a pool."""
        if group not in self._groups:
            table = self._prepared.read_group(group)
            for side in self._sides:
                table = join(table, side.read_group(group))
            if self._request.without is not None:
                table = self._request.without.without(group, table)
            self._groups[group] = table
        return self._groups[group]

    def _pool_of(self, step: int) -> int:
        return self.plan.epoch_of(step) * self.plan.pools_per_epoch + self.plan.window_of(step) // self.plan.windows_per_pool


def read_pools(block: pa.Table, *, request: ReadRequest) -> Iterator[pa.Table]:
    """The rows of the pools from each ``start`` to ``stop`` of a block: one task of Ray Data."""
    reader = PlannedReader(request)
    for start, stop in zip(block["start"].to_pylist(), block["stop"].to_pylist(), strict=True):
        for pool in range(start, stop):
            yield from reader.read(pool)
