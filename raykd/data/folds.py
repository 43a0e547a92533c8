"""Folds of a prepared set: every row belongs to one of K, by the hash of its tokens, so that equal texts share a fold.

The folds are a side table made once; a training excludes one fold, and scoring selects it, without another copy of the tokens.
Neither torch nor Ray is imported here: reading tasks import this module.
"""

import hashlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raykd.data import storage
from raykd.data.parquet_files import MANIFEST, write_part
from raykd.data.side_tables import ROW_ID, SideTable, commit, join
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError

COLUMN = "fold"


@dataclass(frozen=True)
class Fold:
    """One fold of a table of folds."""

    table: str
    """Folder of the side table that assigns rows to folds."""
    number: int
    """Number of the fold, from 0."""

    @cached_property
    def _side(self) -> SideTable:
        return SideTable.open(self.table)

    @property
    def rows_outside(self) -> npt.NDArray[np.int64]:
        """Rows of each row group that do not belong to the fold."""
        counts = np.array(self._side.provenance["rows"], np.int64).reshape(-1, self._side.provenance["folds"])
        return np.asarray(self._side.group_rows - counts[:, self.number])

    def members(self, group: int, names: pa.Table) -> npt.NDArray[np.bool_]:
        """Mask ``[n]`` of the rows of a group that belong to the fold; ``names`` has their ``shard`` and ``row``.

        Raises DataError when ``names`` are not the rows of that group.
        """
        joined = join(names.select(list(ROW_ID)), self._side.read_group(group))
        return np.asarray(joined[COLUMN].to_numpy() == self.number)

    def without(self, group: int, rows: pa.Table) -> pa.Table:
        """The rows of a group that do not belong to the fold."""
        return rows.filter(pa.array(~self.members(group, rows)))

    def check_fits(self, prepared: TokenisedSet) -> None:
        """Raise DataError unless the folds were made for the rows of ``prepared``."""
        self._side.check_fits(prepared)


def assign_folds(prepared: TokenisedSet, count: int, cache: str) -> list[Fold]:
    """``count`` folds of the rows, from ``cache`` or computed. Raises DataError when a fold has no rows."""
    folder = storage.join(cache, "folds", f"{prepared.fingerprint}-{count}")
    if not storage.exists(storage.join(folder, MANIFEST)):
        _assign(prepared, count, folder)
    folds = [Fold(folder, number) for number in range(count)]
    empty = next((fold for fold in folds if fold.rows_outside.sum() == prepared.num_rows), None)
    if empty is not None:
        raise DataError(f"fold {empty.number + 1} of {count} has no rows: {prepared.num_rows} are too few; lower logits.folds")
    return folds


def _assign(prepared: TokenisedSet, count: int, folder: str) -> None:
    counts: list[list[int]] = []

    def tables(groups: range) -> Iterator[pa.Table]:
        for group in groups:
            rows = prepared.read_group(group, [*ROW_ID, "input_ids"])
            folds = _folds(rows["input_ids"].combine_chunks(), count)
            counts.append(np.bincount(folds, minlength=count).tolist())
            yield rows.select(list(ROW_ID)).append_column(COLUMN, pa.array(folds))

    parts, first = [], 0
    for part in prepared.parts:
        parts.append(write_part(folder, first, tables(range(first, first + len(part.groups)))))
        first += len(part.groups)
    commit(folder, prepared, parts, [COLUMN], {"kind": "folds", "folds": count, "rows": counts})


def _folds(tokens: Any, count: int) -> npt.NDArray[np.int16]:
    values, offsets = tokens.values.to_numpy(), tokens.offsets.to_numpy()
    rows = itertools.pairwise(offsets)
    hashes = [hashlib.blake2b(values[start:stop].tobytes(), digest_size=8).digest() for start, stop in rows]
    return np.array([int.from_bytes(one, "little") % count for one in hashes], np.int16)
