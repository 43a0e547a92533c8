"""Side tables: columns for the rows of a prepared set (logits, weights, embeddings), in row groups of the same rows.

A join pairs two row groups and checks that every row's name agrees. Many workers may write part files of consecutive row
groups: ``write_part(folder, first_group, tables)`` with one table per group, columns ``shard``, ``row`` and the table's own;
:func:`commit` then writes the manifest that makes them a table.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raykd.data import storage
from raykd.data.parquet_files import MANIFEST, PartInfo, RowGroups, read_manifest, write_part
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError

__all__ = ["ROW_ID", "SideTable", "commit", "join", "logits_array", "logits_numpy", "restrict", "write_logits", "write_part"]

LogitsArray = npt.NDArray[np.float32]
"""``[N, C]``."""
KIND = "side table"
ROW_ID = ("shard", "row")


@dataclass(frozen=True)
class SideTable:
    """Columns for the rows of every prepared set with the same ``rows_fingerprint``, in the same row groups."""

    path: str
    """Its folder."""
    rows_fingerprint: str
    """Hash that identifies the rows; equal to the prepared set's."""
    columns: tuple[str, ...]
    """Columns besides ``shard`` and ``row``."""
    provenance: Mapping[str, Any]
    """Origin of the values, as given to :func:`commit`."""
    parts: tuple[PartInfo, ...]
    """The files, in row order."""

    @staticmethod
    def open(path: str) -> "SideTable":
        """Open the side table of a folder. Raises DataError when it holds no complete one."""
        manifest = read_manifest(path, KIND)
        parts = tuple(PartInfo.from_json(part) for part in manifest["parts"])
        return SideTable(path, manifest["rows_fingerprint"], tuple(manifest["columns"]), manifest["provenance"], parts)

    @cached_property
    def _groups(self) -> RowGroups:
        return RowGroups(self.path, self.parts)

    @property
    def group_rows(self) -> npt.NDArray[np.int64]:
        """Rows of each row group, in order."""
        return self._groups.group_rows

    def read_group(self, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One row group, all columns or those in ``columns``."""
        return self._groups.read(group, columns)

    def check_fits(self, prepared: TokenisedSet) -> None:
        """Raise DataError unless this table was made for the rows of ``prepared``."""
        if self.rows_fingerprint != prepared.rows_fingerprint:
            raise DataError(
                f"{self.path} was made for other rows than {prepared.path} has ({self.rows_fingerprint}, not "
                f"{prepared.rows_fingerprint}); make it again from these files, this split and this schema"
            )


def commit(
    folder: str, prepared: TokenisedSet, parts: Sequence[PartInfo], columns: Sequence[str], provenance: Mapping[str, Any]
) -> SideTable:
    """Write the manifest that makes ``parts`` a side table of ``prepared``.

    Raises DataError when the parts do not cover each row group of ``prepared`` once, with its number of rows.
    """
    ordered = sorted((part for part in parts if part.groups), key=lambda part: part.position)
    next_group = 0
    for part in ordered:
        expected = tuple(prepared.group_rows[part.position : part.position + len(part.groups)])
        if part.position != next_group or part.groups != expected:
            raise DataError(
                f"{folder}: {part.file} holds row groups {part.position} to {part.position + len(part.groups) - 1} with "
                f"{part.rows} rows; expected were groups from {next_group} on, with {sum(expected)} rows"
            )
        next_group += len(part.groups)
    if next_group != len(prepared.group_rows):
        raise DataError(f"{folder}: parts cover {next_group} of {len(prepared.group_rows)} row groups of {prepared.path}")
    table = SideTable(folder, prepared.rows_fingerprint, tuple(columns), dict(provenance), tuple(ordered))
    manifest: dict[str, Any] = {"kind": KIND, **asdict(table)}
    del manifest["path"]
    storage.write_json(storage.join(folder, MANIFEST), manifest)
    return table


def restrict(side: SideTable, whole: TokenisedSet, subset: TokenisedSet, *, out: str) -> SideTable:
    """The rows of ``subset``, whose files are some of those of ``whole``, in a side table made for ``whole``.

    Raises DataError when ``side`` is of other rows, or the rows of ``subset`` are not among them.
    """
    side.check_fits(whole)
    shards = {source.path: shard for shard, source in enumerate(subset.sources)}
    renamed = {shard: shards[source.path] for shard, source in enumerate(whole.sources) if source.path in shards}
    tables = _renamed_groups(side, whole, renamed)
    checked = _fitting(tables, subset)
    return commit(out, subset, [write_part(out, 0, checked)], side.columns, {"part_of": side.path, **side.provenance})


def _renamed_groups(side: SideTable, whole: TokenisedSet, renamed: dict[int, int]) -> Iterator[pa.Table]:
    """Row groups of the shards in ``renamed``, with the numbers that these have in the other set."""
    for group in range(len(side.group_rows)):
        shard = int(whole.read_group(group, ["shard"])["shard"][0].as_py())
        if shard in renamed:
            table = side.read_group(group)
            number: Any = np.full(len(table), renamed[shard], np.int32)
            yield table.set_column(table.column_names.index("shard"), "shard", pa.array(number))


def _fitting(tables: Iterator[pa.Table], subset: TokenisedSet) -> Iterator[pa.Table]:
    groups = range(len(subset.group_rows))
    for group, table in zip(groups, tables, strict=False):
        names = subset.read_group(group, ["shard", "row"])
        if not (names["row"].equals(table["row"]) and names["shard"].equals(table["shard"])):
            raise DataError(
                f"row group {group} of {subset.path} is not among the rows of the table; prepare both from the same files"
            )
        yield table


def join(tokens: pa.Table, side: pa.Table) -> pa.Table:
    """The columns of two tables of the same rows. Raises DataError when a row's name differs or both have a column."""
    for name in ROW_ID:
        if not tokens[name].equals(side[name]):
            raise DataError(f"rows of a side table are not those it is joined to: column {name!r} differs; make it again")
    for name in side.column_names:
        if name in ROW_ID:
            continue
        if name in tokens.column_names:
            raise DataError(f"column {name!r} stands in both tables of a join; give one of them another name")
        tokens = tokens.append_column(side.schema.field(name), side[name])
    return tokens


def logits_array(logits: npt.NDArray[np.float32]) -> pa.FixedSizeListArray:
    """``[n, C]`` float32 as a column of side tables: fixed_size_list<float32>[C]."""
    flat = np.ascontiguousarray(logits, dtype=np.float32).reshape(-1)
    return pa.FixedSizeListArray.from_arrays(pa.array(flat), logits.shape[1])


def write_logits(
    out: str, prepared: TokenisedSet, column: str, take: Callable[[pa.Table], npt.NDArray[np.float32]]
) -> list[PartInfo]:
    """Write the logits of all rows, one part file for each of the rows' own.

    ``take`` gives the logits ``[n, C]`` of a row group, by its row ids; groups are asked for in order.
    """

    def tables(groups: range) -> Iterator[pa.Table]:
        for group in groups:
            names = prepared.read_group(group, ROW_ID)
            yield names.append_column(column, logits_array(take(names)))

    parts, first = [], 0
    for part in prepared.parts:
        parts.append(write_part(out, first, tables(range(first, first + len(part.groups)))))
        first += len(part.groups)
    return parts


def logits_numpy(column: pa.ChunkedArray) -> npt.NDArray[np.float32]:
    """The inverse of :func:`logits_array`: ``[n, C]`` float32."""
    width = column.type.list_size
    flat: npt.NDArray[np.float32] = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return flat.reshape(-1, width)
