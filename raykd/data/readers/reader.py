"""Interface of file formats: a file is split into chunks of whole rows, which tasks read independently."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from raykd.errors import DataError

CHUNK_BYTES = 4 << 20
"""Bytes of a chunk. Fixed, so that row groups do not depend on the machine."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file."""

    shard: int
    """Position of the file among the sorted files."""
    path: str
    start: int
    """Position in the reader's own unit; of TSV files, bytes after decompression."""
    stop: int
    first_row: int
    """Rows of the file before this chunk, the header not counted."""
    rows: int
    first_line: int
    """Line number of the first row, from 1."""
    digest: str
    """Hash of the rows' content."""


class RawRow(NamedTuple):
    """The bytes of a row, without its line end."""

    row: int
    """Number in the file, from 0, the header not counted."""
    line: int
    """Number of the line, from 1."""
    data: bytes


@dataclass(frozen=True)
class Range:
    """A byte range of a file in which rows are counted."""

    path: str
    start: int
    stop: int
    skip_header: bool
    """The first row of the range is a header."""


class Piece(NamedTuple):
    """The rows that start in a range."""

    start: int
    stop: int
    rows: int
    digest: str


class Reader(Protocol):
    """One file format. A reader has no state: its methods run in different processes."""

    def ranges(self, path: str, *, skip_header: bool, chunk_bytes: int) -> Iterator[Range]:
        """Split a file into ranges of about ``chunk_bytes``. Raises DataError when it is absent."""
        ...

    def count(self, part: Range) -> Piece | None:
        """Count and hash the rows that start in a range; None without any. Raises DataError for a damaged file."""
        ...

    def read(self, chunk: Chunk) -> Iterator[RawRow]:
        """Stream the rows of a chunk. Raises DataError, at the latest at its end, when its content has changed."""
        ...

    def first_line(self, path: str) -> bytes:
        """The first line of a file (a header, where there is one), without its line end; empty for an empty file."""
        ...

    def cells(self, line: str, names: Sequence[str]) -> list[str]:
        """Split a row into cells in the order of the schema's column names. Raises DataError for a row of another form.

        A format whose columns are found by position keeps cells beyond the names at the end, so that no names give all cells.
        """
        ...


def changed(path: str) -> DataError:
    """The error for a file whose content has changed since it was counted."""
    return DataError(f"{path} changed while it was read; run again, and do not modify it meanwhile")
