"""Logits combined from other logits of the same rows: an average over teachers, or the held-out folds gathered."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa

from raykd.data.folds import Fold
from raykd.data.parquet_files import write_part
from raykd.data.side_tables import ROW_ID, LogitsArray, SideTable, commit, join, logits_array, logits_numpy
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError

COLUMN = "logits"


def average_logits(sides: Sequence[SideTable], weights: Sequence[float], prepared: TokenisedSet, out: str) -> SideTable:
    """``Σ w_i z_i / Σ w_i`` of every row's logits, as a side table at ``out``.

    Raises DataError when a table was made for other rows, or has another number of logits than the first.
    """
    shares = np.asarray(weights, np.float64) / np.sum(weights)

    def mix(group: int, names: pa.Table) -> LogitsArray:
        each = [_read(side, group, names) for side in sides]
        widths = [one.shape[1] for one in each]
        if len(set(widths)) > 1:
            raise DataError(f"teachers have {widths} logits a row; they must be of the same labels to be averaged")
        return np.asarray(np.tensordot(shares, np.stack(each).astype(np.float64), axes=1), np.float32)

    provenance = {"kind": "average", "weights": list(map(float, weights)), "of": [side.path for side in sides]}
    return _write(sides, prepared, out, mix, provenance)


def gather_folds(sides: Sequence[SideTable], folds: Sequence[Fold], prepared: TokenisedSet, out: str) -> SideTable:
    """Every row's logits from the table of its own fold. Raises DataError when a table was made for other rows."""

    def mix(group: int, names: pa.Table) -> LogitsArray:
        members = [fold.members(group, names) for fold in folds]
        each = [_read(side, group, names) for side in sides]
        logits = np.full_like(each[0], np.nan)
        for mine, theirs in zip(members, each, strict=True):
            logits[mine] = theirs[mine]
        return logits

    return _write(sides, prepared, out, mix, {"kind": "folds", "of": [side.path for side in sides]})


def _write(
    sides: Sequence[SideTable],
    prepared: TokenisedSet,
    out: str,
    mix: Callable[[int, pa.Table], LogitsArray],
    provenance: Mapping[str, object],
) -> SideTable:
    for side in sides:
        side.check_fits(prepared)

    def tables(groups: range) -> Iterator[pa.Table]:
        for group in groups:
            names = prepared.read_group(group, ROW_ID)
            yield names.append_column(COLUMN, logits_array(mix(group, names)))

    parts, first = [], 0
    for part in prepared.parts:
        parts.append(write_part(out, first, tables(range(first, first + len(part.groups)))))
        first += len(part.groups)
    return commit(out, prepared, parts, [COLUMN], provenance)


def _read(side: SideTable, group: int, names: pa.Table) -> LogitsArray:
    return logits_numpy(join(names, side.read_group(group, [*ROW_ID, COLUMN]))[COLUMN])
