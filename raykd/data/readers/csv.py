"""CSV files as in RFC 4180: quotes around cells that hold the delimiter, quotes (doubled) or line breaks.

Columns are found by the names in the header, or by position where there is an input schema. A file without any quote is cut
into chunks of lines as TSV is. Where a quote may hold a line break only the lines before tell, so a quoted file is one chunk,
as a compressed one is. A row that is malformed ends at its first line, however many lines its quotes hold, and the next line
begins another: a stray quote costs one row.
"""

import csv
import functools
import hashlib
import logging
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from raykd.config.file_formats import SUFFIXES
from raykd.data import storage
from raykd.data.readers.compression import is_compressed, open_rows, seek
from raykd.data.readers.reader import CHUNK_BYTES, Chunk, Piece, Range, RawRow, Reader, changed, column_position, hash_columns
from raykd.data.readers.tsv import BOM, count_lines, enough_cells
from raykd.errors import DataError

log = logging.getLogger(__name__)

_LONGEST_CELL = 64 << 20
"""Characters of a cell, and bytes of the lines of a row; more are a quote that is not closed."""
_HEADER_BYTES = 64 << 10
"""Read at once for a header, which every task reads."""
_REJECTED = b"\0the first of several lines is a row\0"
"""Part of the digest behind the lines of a malformed row; other rows follow than from lines that are one row."""

CsvRecord = tuple[int, list[str] | DataError]
"""Number of its first line among those read, from 1, and its cells, none for a blank line, or why it is malformed."""


class CsvReader(Reader):
    """Reads records of cells separated by the delimiter."""

    suffixes = SUFFIXES["csv"]

    @property
    def names_columns(self) -> bool:
        """True unless an input schema names the columns."""
        return self.settings.named

    @property
    def separator(self) -> str:
        """The delimiter, in quotes."""
        return repr(self.settings.delimiter)

    @property
    def surplus_advice(self) -> str:
        """Quotes, or another delimiter."""
        return f"put quotes around a text that holds {self.separator}, or set data.delimiter"

    def ranges(self, path: str, *, skip_header: bool, chunk_bytes: int) -> Iterator[Range]:
        """Ranges of ``chunk_bytes``; a compressed or quoted file has one."""
        size = storage.file_size(path)
        whole = is_compressed(path) or (size > chunk_bytes and _is_quoted(path))
        step = max(size, 1) if whole else chunk_bytes
        for start in range(0, size, step):
            yield Range(path, start, min(start + step, size), (skip_header or self.settings.named) and start == 0)

    def count(self, part: Range) -> Piece | None:
        """Count records; lines, where the file is cut."""
        whole = is_compressed(part.path) or (not part.start and part.stop == storage.file_size(part.path))
        piece = self._count_whole(part) if whole else count_lines(part)
        header = None if piece is None else self._header(part.path)
        return piece if piece is None or header is None else piece._replace(digest=hash_columns(piece.digest, header))

    def _count_whole(self, part: Range) -> Piece | None:
        with open_rows(part.path) as stream:
            lines = _Lines(stream)
            records = self._records(lines)
            if part.skip_header and isinstance(error := next(records, (0, []))[1], DataError):
                raise DataError(f"{part.path}:1: {error}")
            start = lines.begin_digest()
            rows = filled = 0
            for rows, (_, cells) in enumerate(records, 1):
                filled = rows if cells else filled
        return Piece(start, lines.position, rows, lines.digest.hexdigest(), rows - filled) if rows else None

    def _header(self, path: str) -> list[str] | None:
        """The names of the columns; None where an input schema has them."""
        return self.first_row(path) if self.settings.named else None

    def read(self, chunk: Chunk, names: Sequence[str]) -> Iterator[RawRow]:
        """Stream the records of a chunk; with a header, their cells in the order of ``names``."""
        header = self._header(chunk.path)
        columns = None if header is None else [column_position(chunk.path, name, header) for name in names]
        with open_rows(chunk.path) as stream:
            seek(chunk.path, stream, chunk.start)
            lines = _Lines(stream, chunk.stop - chunk.start, start=chunk.start)
            for row, (line, cells) in enumerate(self._records(lines), chunk.first_row):
                if row < chunk.first_row + chunk.rows:  # blank lines at the end of the file may follow
                    yield RawRow(row, chunk.first_line - 1 + line, self._pick(cells, columns, len(header or ())))
        digest = lines.digest.hexdigest()
        if lines.position != chunk.stop or (digest if header is None else hash_columns(digest, header)) != chunk.digest:
            raise changed(chunk.path)

    def cells(self, data: Any, names: Sequence[str]) -> list[Any]:
        """The cells that were read. Raises DataError for a blank line, a malformed record or missing cells."""
        if isinstance(data, DataError):
            raise data
        if not data:
            raise DataError("the line is blank")
        return enough_cells(data, names, self.separator)

    def first_row(self, path: str) -> list[str]:
        """Cells of the first record. Raises DataError when it is malformed or not UTF-8."""
        with open_rows(path) as stream:
            line, cells = next(self._records(_Lines(stream, block_bytes=_HEADER_BYTES)), (0, []))
        if line and not cells:
            raise DataError(f"{path}:1: the line is blank")
        if isinstance(cells, DataError):
            raise DataError(f"{path}:1: {cells}")
        for cell in cells:
            if "\0" in cell or any("\udc80" <= character <= "\udcff" for character in cell):
                raise DataError(f"{path}:1: the header is not UTF-8 text; convert the file to UTF-8")
        return cells

    def check(self, path: str, names: Sequence[str]) -> None:
        """Look for the columns in the header, where there is one."""
        if self.settings.named:
            header = self.first_row(path)
            for name in names:
                column_position(path, name, header)

    def _records(self, lines: "_Lines") -> Iterator[CsvRecord]:
        csv.field_size_limit(_LONGEST_CELL)
        reader, number = self._parser(lines), 1
        while True:
            lines.begin_row()
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                others = lines.taken[1:]
                yield number, _malformed(str(error), single_line=not others)
                if others:
                    lines.return_last()
                    yield from self._single_lines(others[:-1], number + 1)
                    reader = self._parser(lines)
                number += max(len(others), 1)
            else:
                yield number, cells
                number += len(lines.taken)

    def _single_lines(self, lines: Sequence[str], number: int) -> Iterator[CsvRecord]:
        """Rows of one line each, from lines between the first and the last of a malformed row.

        A quote that one of them opens and does not close makes a malformed row too: the next line begins inside quotes, as it
        did in the first row, and leads to the same error. So each line is parsed at most three times, whatever its quotes.
        """
        for position, line in enumerate(lines, number):
            try:
                yield position, next(self._parser([line]))
            except csv.Error as error:
                yield position, _malformed(str(error))

    def _parser(self, lines: Iterable[str]) -> Iterator[list[str]]:
        return csv.reader(lines, delimiter=self.settings.delimiter, strict=True)

    def _pick(self, cells: list[str] | DataError, columns: list[int] | None, width: int) -> list[str] | DataError:
        if columns is None or not cells or isinstance(cells, DataError):
            return cells
        if len(cells) != width:
            return DataError(f"{len(cells)} cells where the header has {width}; {self.surplus_advice}")
        return [cells[column] for column in columns]


class _Lines:
    """Decoded lines of a stream, with their ends; counts and hashes the bytes of those read. Bytes 0x80 and above that are not
    UTF-8 become lone surrogates, which the parser of rows refuses.

    Unlike other iterators it goes on after its end, or an error, with a line that was returned.
    """

    def __init__(self, stream: Any, size: int | None = None, *, start: int = 0, block_bytes: int = CHUNK_BYTES) -> None:
        self._stream, self._left, self._block_bytes = stream, size, block_bytes
        self._lines = self._split()
        self._row_start = self.position = start
        self._returned: str | None = None
        self.digest = hashlib.blake2b(digest_size=16)
        self.taken: list[str] = []
        """Lines of the row that has begun."""

    def begin_digest(self) -> int:
        """Hash from here on; returns the position."""
        self.digest = hashlib.blake2b(digest_size=16)
        return self.position

    def begin_row(self) -> None:
        """Forget the lines taken."""
        self.taken.clear()
        self._row_start = self.position

    def return_last(self) -> None:
        """Give the last line taken once more, as the first of a row that another malformed one ends before."""
        self._returned = self.taken[-1]
        self.digest.update(_REJECTED)

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self._returned is not None:
            line, self._returned = self._returned, None
        elif self.position - self._row_start > _LONGEST_CELL and self.taken:
            raise csv.Error("field larger than the limit")
        else:
            line = self._decode(next(self._lines))
        self.taken.append(line)
        return line

    def _split(self) -> Iterator[bytes]:
        begun: list[bytes] = []
        while block := self._block():
            first, *others = block.split(b"\n")
            begun.append(first)
            if others:
                yield b"".join(begun) + b"\n"
                begun = [others.pop()]
                for line in others:
                    yield line + b"\n"
        if last := b"".join(begun):
            yield last

    def _block(self) -> bytes:
        block: bytes = self._stream.read(self._block_bytes if self._left is None else min(self._left, self._block_bytes))
        if self._left is not None:
            self._left -= len(block)
        return block

    def _decode(self, line: bytes) -> str:
        at_start = not self.position
        self.position += len(line)
        self.digest.update(line)
        return (line.removeprefix(BOM) if at_start else line).decode(errors="surrogateescape")


def _is_quoted(path: str) -> bool:
    """True when the file holds a quote; says once that it is one task then."""
    with storage.open_input(path) as stream:
        while block := stream.read(CHUNK_BYTES):
            if b'"' in block:
                _say_whole(path)
                return True
    return False


@functools.cache
def _say_whole(path: str) -> None:
    log.warning("%s has quotes, which may hold line breaks, so one task reads it; cut it into files for more", path)


def _malformed(error: str, *, single_line: bool = True) -> DataError:
    """The error of a row by that of the parser, which may mean another line than the first of several."""
    if not single_line or "unexpected end of data" in error or "field larger" in error:
        return DataError("a quote that opens in this row is not closed; close it, and double the quotes inside a text")
    if "new-line character" in error:
        return DataError("a carriage return outside quotes; end lines with line feeds, and quote texts that hold line breaks")
    return DataError(f"malformed quotes ({error}); double the quotes inside a quoted text")
