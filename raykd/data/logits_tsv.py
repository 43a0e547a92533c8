"""Teacher logits as text, in EasyNLP's format: line i belongs to source row i, values joined by commas.

Lines count the *source* rows of a prepared set, over its files in sorted order: rejected rows and rows of other splits have a
line too, whose content is ignored.
"""

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from raykd.data.parquet_files import PartInfo
from raykd.data.readers import RawRow, read_chunk, scan
from raykd.data.side_tables import ROW_ID, SideTable, commit, logits_array, write_part
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError, shorten

COLUMN = "logits"


def import_tsv(path: str, prepared: TokenisedSet, *, out: str, column: int = 0) -> SideTable:
    """Convert logits into a side table at ``out``; ``column`` is the position of the tab-separated column, from 0.

    Raises DataError with file and line: another number of lines than source rows, a line without that column, values that
    are not finite numbers, or another number of logits than labels (without labels: than in the line before).
    """
    source_lines = SourceLines(prepared)
    chunks = scan([path], skip_header=False)
    found = sum(chunk.rows for chunk in chunks)
    if found != source_lines.total:
        raise DataError(
            f"{path} has {found} lines, but {name_files(prepared)} {source_lines.total} rows; line i belongs to row i, so give "
            "the logits of these files, headers left out"
        )
    lines = itertools.chain.from_iterable(map(read_chunk, chunks))
    parser = _LogitsParser(path, column, None if prepared.labels is None else len(prepared.labels))

    def tables(groups: range) -> Iterator[pa.Table]:
        for group in groups:
            names = prepared.read_group(group, ROW_ID)
            picked = [next(line for line in lines if line.row == number) for number in source_lines.of(names).tolist()]
            yield names.append_column(COLUMN, logits_array(parser.parse(picked)))

    parts: list[PartInfo] = []
    first = 0
    for part in prepared.parts:
        parts.append(write_part(out, first, tables(range(first, first + len(part.groups)))))
        first += len(part.groups)
    provenance = {"kind": "tsv", "path": path, "column": column, "digest": [chunk.digest for chunk in chunks]}
    return commit(out, prepared, parts, [COLUMN], provenance)


class SourceLines:
    """Numbers the rows of all source files together, from 0."""

    def __init__(self, prepared: TokenisedSet) -> None:
        rows = [source.rows for source in prepared.sources]
        self.total = sum(rows)
        self._before = np.cumsum([0, *rows], dtype=np.int64)

    def of(self, table: pa.Table) -> npt.NDArray[np.int64]:
        """The number of each row of a group, ascending."""
        return self.numbers(table["shard"].to_numpy(), table["row"].to_numpy())

    def numbers(self, shard: npt.NDArray[Any], row: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The number of each row, from its ``shard`` and ``row``, both ``[n]``."""
        return np.asarray(self._before[shard] + row, np.int64)


def name_files(prepared: TokenisedSet) -> str:
    """The source files as the beginning of a sentence: ``a.tsv has``, ``a.tsv and 2 more files have``."""
    first, others = prepared.sources[0].path, len(prepared.sources) - 1
    return f"{first} and {others} more files have" if others else f"{first} has"


class _LogitsParser:
    """Parses many lines in one call, each number to the nearest float32."""

    def __init__(self, path: str, column: int, width: int | None) -> None:
        self._path, self._column, self._width = path, column, width

    def parse(self, lines: Sequence[RawRow]) -> npt.NDArray[np.float32]:
        """The logits of some lines, ``[n, C]``."""
        cells = [self._cell(line) for line in lines]
        try:
            lists = pc.split_pattern(pa.array(cells, pa.string()), ",")
            values: npt.NDArray[np.float32] = pc.cast(pc.utf8_trim_whitespace(lists.flatten()), pa.float32()).to_numpy()
        except pa.ArrowInvalid:
            if len(lines) == 1:
                raise self._error(lines[0], f"{_show(cells[0])} is not numbers joined by commas") from None
            return np.concatenate([self.parse([line]) for line in lines])  # one of them raises
        widths = lists.value_lengths().to_numpy()
        self._width = int(widths[0]) if self._width is None else self._width
        wrong = np.flatnonzero(widths != self._width)
        if len(wrong):
            raise self._error(lines[wrong[0]], f"{widths[wrong[0]]} values, where {self._width} are needed, one for each label")
        logits = values.reshape(-1, self._width)
        wrong = np.flatnonzero(~np.isfinite(logits).all(axis=1))
        if len(wrong):
            raise self._error(lines[wrong[0]], f"{_show(cells[wrong[0]])} is not finite; predict that row again")
        return logits

    def _cell(self, line: RawRow) -> bytes:
        cells: list[bytes] = line.data.split(b"\t")
        if len(cells) <= self._column:
            raise self._error(line, f"there is no column {self._column}; columns count from 0, and this line has {len(cells)}")
        return cells[self._column]

    def _error(self, line: RawRow, reason: str) -> DataError:
        return DataError(f"{self._path}:{line.line}: {reason}")


def _show(cell: bytes) -> str:
    return shorten(cell.decode(errors="backslashreplace"))
