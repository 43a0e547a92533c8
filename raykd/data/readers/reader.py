"""Interface of file formats: a file is cut into chunks of whole rows, which many tasks read separately."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from raykd.errors import DataError

CHUNK_BYTES = 4 << 20
"""Fixed, so that row groups do not depend on the machine."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file."""

    shard: int
    """Position of the file among the files, sorted."""
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
    """A row as it stands in its file, without its end."""

    row: int
    """Number in the file, from 0, the header not counted."""
    line: int
    """Number of the line, from 1."""
    data: bytes


@dataclass(frozen=True)
class Range:
    """A part of a file to look for rows in."""

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
        """Cut a file into ranges of about ``chunk_bytes``. Raises DataError when it is absent."""
        ...

    def count(self, part: Range) -> Piece | None:
        """Count and hash the rows that start in a range; none without any. Raises DataError for a damaged file."""
        ...

    def read(self, chunk: Chunk) -> Iterator[RawRow]:
        """Stream the rows of a chunk. Raises DataError, at the end at the latest, when its content is not that counted."""
        ...

    def first_line(self, path: str) -> bytes:
        """The first line of a file, without its end, where a header stands; empty for an empty file."""
        ...

    def cells(self, line: str, names: Sequence[str]) -> list[str]:
        """Split a row into its cells, in the order of the schema's column names. Raises DataError for a row of another form."""
        ...


def changed(path: str) -> DataError:
    """The error for a file that is not the one that was counted."""
    return DataError(f"{path} changed while it was read; leave it alone and run again")
