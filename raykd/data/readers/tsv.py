r"""TSV files: rows are lines, cells are separated by tabs, quotes are plain characters.

A row ends at ``\n`` with an optional ``\r`` before it, and at nothing else; a byte-order mark at the start of a file is not
part of it. Lines at the end of a file that hold nothing but carriage returns are no rows. A plain file is cut into chunks of
whole rows, each owning the rows that *start* in its ``CHUNK_BYTES``; a compressed file is one chunk. Memory holds one block of
``CHUNK_BYTES``, or the longest row if that is longer.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar

from raykd.config.file_formats import SUFFIXES
from raykd.data import storage
from raykd.data.readers.compression import is_compressed, open_rows, seek
from raykd.data.readers.reader import CHUNK_BYTES, Chunk, Piece, Range, RawRow, Reader, changed
from raykd.errors import DataError

BOM = b"\xef\xbb\xbf"
_TAIL_BYTES = 64 << 10


class TsvReader(Reader):
    """Reads lines of tab-separated cells."""

    suffixes: ClassVar[tuple[str, ...]] = SUFFIXES["tsv"]

    @property
    def separator(self) -> str:
        """The tab."""
        return "tabs"

    @property
    def surplus_advice(self) -> str:
        """Tabs cannot be quoted."""
        return "replace tabs in a text by spaces"

    def ranges(self, path: str, *, skip_header: bool, chunk_bytes: int) -> Iterator[Range]:
        """Ranges of ``chunk_bytes``; a compressed file has one."""
        size = storage.file_size(path)
        step = max(size, 1) if is_compressed(path) else chunk_bytes
        for start in range(0, size, step):
            yield Range(path, start, min(start + step, size), skip_header and start == 0)

    def count(self, part: Range) -> Piece | None:
        """Count the lines that start in a range."""
        return _count_compressed(part) if is_compressed(part.path) else count_lines(part)

    def read(self, chunk: Chunk, names: Sequence[str]) -> Iterator[RawRow]:
        """Stream the lines of a chunk."""
        del names
        row, offset = chunk.first_row, chunk.first_line - chunk.first_row
        for data in _split_rows(_blocks(chunk)):
            if row < chunk.first_row + chunk.rows:  # blank lines at the end of the file follow: their bytes are checked as well
                yield RawRow(row, row + offset, data)
            row += 1

    def first_row(self, path: str) -> bytes:
        """The first line, without its end and byte-order mark."""
        line = b""
        with open_rows(path) as stream:
            while b"\n" not in line and (block := stream.read(_TAIL_BYTES)):
                line += block
        return line.split(b"\n", 1)[0].removeprefix(BOM).removesuffix(b"\r")

    def cells(self, data: str, names: Sequence[str]) -> list[Any]:
        """Split at tabs; cells beyond the columns are kept at the end. Raises DataError for a blank line or missing cells."""
        if not data:
            raise DataError("the line is blank")
        return enough_cells(data.split("\t"), names, self.separator)


def enough_cells(cells: list[Any], names: Sequence[str], separators: str) -> list[Any]:
    """The cells of a row. Raises DataError when there are fewer than ``names``."""
    if len(cells) < len(names):
        found = "1 column" if len(cells) == 1 else f"{len(cells)} columns"
        raise DataError(f"{found} where {len(names)} are needed ({', '.join(names)}), split at {separators}")
    return cells


def count_lines(item: Range) -> Piece | None:
    """Count and hash the lines that start in a range of a plain file; None without any."""
    lead = min(item.start, 1)  # a row starts at the range's first byte when the byte before it ends a row
    with storage.open_input(item.path) as stream:
        stream.seek(item.start - lead)
        data = stream.read(item.stop - item.start + lead)
        if len(data) < item.stop - item.start + lead:
            raise changed(item.path)
        begin = data.find(b"\n") + 1 if lead else _content_start(data, item.skip_header)
        if begin >= len(data) or (lead and not begin):
            return None
        body = data[begin:]
        digest, rows, stop = hashlib.blake2b(body, digest_size=16), _LineCount(body), item.stop
        while not rows.ended and (block := stream.read(_TAIL_BYTES)):
            block = block[: block.find(b"\n") + 1 or len(block)]
            digest.update(block)
            rows.add(block)
            stop += len(block)
    return Piece(item.start - lead + begin, stop, rows.total, digest.hexdigest(), rows.blank)


class _LineCount:
    """Number of lines in consecutive blocks of bytes."""

    def __init__(self, block: bytes = b"") -> None:
        self.ended, self._feeds, self._filled = True, 0, 0
        self.add(block)

    def add(self, block: bytes) -> None:
        """Count the lines of a further block."""
        content = block.rstrip(b"\r\n")
        self._feeds += content.count(b"\n")
        self._filled = self._feeds + 1 if content else self._filled
        self._feeds += block.count(b"\n", len(content))
        self.ended = block.endswith(b"\n") if block else self.ended

    @property
    def total(self) -> int:
        """All lines, among them one that has begun."""
        return self._feeds + (not self.ended)

    @property
    def blank(self) -> int:
        """Lines at the end that hold nothing but carriage returns."""
        return self.total - self._filled


def _content_start(data: bytes, skip_header: bool) -> int:
    """Offset of the first row at the start of a file; the length of ``data`` when no row starts in it."""
    start = len(BOM) if data.startswith(BOM) else 0
    return (data.find(b"\n", start) + 1 or len(data)) if skip_header else start


def _count_compressed(item: Range) -> Piece | None:
    digest, rows = hashlib.blake2b(digest_size=16), _LineCount()
    with open_rows(item.path) as stream:
        start = len(stream.read(len(BOM))) if stream.peek(len(BOM)).startswith(BOM) else 0
        if item.skip_header:
            start += len(stream.readline())
        stop = start
        while block := stream.read(CHUNK_BYTES):
            digest.update(block)
            rows.add(block)
            stop += len(block)
    return Piece(start, stop, rows.total, digest.hexdigest(), rows.blank) if rows.total else None


def _split_rows(blocks: Iterable[bytes]) -> Iterator[bytes]:
    begun: list[bytes] = []
    for block in blocks:
        first, *others = block.split(b"\n")
        begun.append(first)
        if others:
            yield b"".join(begun).removesuffix(b"\r")
            begun = [others.pop()]
            for data in others:
                yield data.removesuffix(b"\r")
    if last := b"".join(begun):
        yield last


def _blocks(chunk: Chunk) -> Iterator[bytes]:
    digest = hashlib.blake2b(digest_size=16)
    with open_rows(chunk.path) as stream:
        seek(chunk.path, stream, chunk.start)
        left = chunk.stop - chunk.start
        while block := stream.read(min(left, CHUNK_BYTES)):
            digest.update(block)
            left -= len(block)
            yield block
    if left or digest.hexdigest() != chunk.digest:
        raise changed(chunk.path)
