"""Interface of file formats: a file is split into chunks of whole rows, which tasks read independently."""

import difflib
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from raykd.errors import DataError

CHUNK_BYTES = 4 << 20
"""Bytes of a chunk. Fixed, so that row groups do not depend on the machine."""


@dataclass(frozen=True)
class FileFormat:
    """Format of data files, and the settings of its reader."""

    name: str | None = "tsv"
    """Format of all files; None takes each file's from its name."""
    delimiter: str = ","
    """Character between the cells of CSV files."""
    named: bool = False
    """Columns are found by the names that the files give them, without an input schema."""


TSV = FileFormat()
"""Tab-separated cells whose columns an input schema names: the format of EasyNLP's files and of Meta-KD."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive rows of a file."""

    shard: int
    """Position of the file among the sorted files."""
    path: str
    start: int
    """First byte, after decompression."""
    stop: int
    first_row: int
    """Rows of the file before this chunk, the header not counted."""
    rows: int
    """Rows of this chunk; in the last chunk of a file blank lines may follow them, which are no rows."""
    first_line: int
    """Line number of the first row, from 1."""
    digest: str
    """Hash of the rows' content, and of the columns' names where the file has them apart from its rows."""


class RawRow(NamedTuple):
    """A row as its format stores it."""

    row: int
    """Number in the file, from 0, the header not counted."""
    line: int
    """Number of the line, from 1; in formats without lines, of the row."""
    data: Any
    """Content that :meth:`Reader.cells` splits: the bytes of a line without its end, or values in the order of the columns.

    Empty for a blank line.
    """


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
    blank: int = 0
    """Blank lines among ``rows`` that no other row follows; at the end of a file they are no rows."""


@dataclass(frozen=True)
class Reader(ABC):
    """One file format with its settings; methods run in different processes, and share nothing."""

    settings: FileFormat = TSV
    suffixes: ClassVar[tuple[str, ...]]
    """Endings of file names, without that of a compression."""
    compressible: ClassVar[bool] = True
    """Files may end in .gz or .zst as well."""
    may_have_header: ClassVar[bool] = True
    """The first row may be a header."""

    @property
    def separator(self) -> str:
        """The character between cells, as errors name it; empty in formats that store columns."""
        return ""

    @property
    def surplus_advice(self) -> str:
        """Advice for a row with more cells than columns."""
        return "remove the other cells"

    @property
    def names_columns(self) -> bool:
        """True when the files name their columns, so that no input schema is needed."""
        return False

    @abstractmethod
    def ranges(self, path: str, *, skip_header: bool, chunk_bytes: int) -> Iterator[Range]:
        """Split a file into ranges of about ``chunk_bytes``. Raises DataError when it is absent."""

    @abstractmethod
    def count(self, part: Range) -> Piece | None:
        """Count and hash the rows that start in a range, with the names of columns that the file holds apart from its rows.

        Blank lines count, and those at the end once more. None without rows. Raises DataError for a damaged file.
        """

    @abstractmethod
    def read(self, chunk: Chunk, names: Sequence[str]) -> Iterator[RawRow]:
        """Stream the rows of a chunk, as many as it says; formats that store columns read those of ``names`` only.

        Raises DataError when a column is not there; at the latest at the end, when the chunk's content has changed.
        """

    @abstractmethod
    def cells(self, data: Any, names: Sequence[str]) -> list[Any]:
        """Split a row's content, bytes decoded, into cells in the order of the columns' names: texts, or values of a type.

        A format whose columns are found by position keeps cells beyond the names at the end, so that no names give all cells.
        Raises DataError, without file and line, for a row of another form.
        """

    @abstractmethod
    def first_row(self, path: str) -> Any:
        """The content of the first row, a header where there is one; empty for an empty file."""

    def check(self, path: str, names: Sequence[str]) -> None:
        """Raise DataError when a file does not open or lacks columns, as far as that is seen without reading its rows."""
        del path, names

    def place(self, path: str, row: RawRow) -> str:
        """The row's place in error messages."""
        return f"{path}:{row.line}"


def hash_columns(digest: str, columns: Sequence[str]) -> str:
    """The digest of rows together with the names of their columns in file order, which decide what a cell means."""
    return hashlib.blake2b(json.dumps([digest, *columns]).encode(), digest_size=16).hexdigest()


def changed(path: str) -> DataError:
    """The error for a file whose content has changed since it was counted."""
    return DataError(f"{path} changed while it was read; run again, and do not modify it meanwhile")


def column_position(path: str, name: str, columns: Sequence[str]) -> int:
    """Position of a column among those of a file. Raises DataError when it is not there, or there twice."""
    if columns.count(name) > 1:
        raise DataError(f"{path} has {columns.count(name)} columns named {name!r}; rename all but one")
    if name not in columns:
        raise DataError(f"{path}: {missing_column(name, columns)}")
    return columns.index(name)


def missing_column(name: str, columns: Sequence[str]) -> str:
    """The sentence for a column that is not there, with the nearest name."""
    shown = ", ".join(columns[:20]) + (", ..." if len(columns) > 20 else "")
    nearest = difflib.get_close_matches(name, columns, n=1)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"there is no column {name!r}, but {shown}{hint}" if columns else f"there is no column {name!r}, nor any other"
