r"""TSV files, plain or gzip: rows are lines, cells are separated by tabs, quotes are plain characters.

A row ends at ``\n`` with an optional ``\r`` before it, and at nothing else; a byte-order mark at the start of a file is not
part of it. A plain file is cut into chunks of whole rows, each owning the rows that *start* in its ``CHUNK_BYTES``; a ``.gz``
file is one chunk. Memory holds one block of ``CHUNK_BYTES``, or the longest row if that is longer.
"""

import gzip
import hashlib
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from raykd.data import storage
from raykd.data.readers.reader import CHUNK_BYTES, Chunk, Piece, Range, RawRow, changed
from raykd.errors import DataError

_BOM = b"\xef\xbb\xbf"
_TAIL_BYTES = 64 << 10


class TsvReader:
    """Reads lines of tab-separated cells."""

    def ranges(self, path: str, *, skip_header: bool, chunk_bytes: int) -> Iterator[Range]:
        """Ranges of ``chunk_bytes``; a .gz file has one."""
        size = storage.file_size(path)
        step = max(size, 1) if _is_gzip(path) else chunk_bytes
        for start in range(0, size, step):
            yield Range(path, start, min(start + step, size), skip_header and start == 0)

    def count(self, part: Range) -> Piece | None:
        """Count the lines that start in a range."""
        return _count_gzip(part) if _is_gzip(part.path) else _count_plain(part)

    def read(self, chunk: Chunk) -> Iterator[RawRow]:
        """Stream the lines of a chunk."""
        row, offset = chunk.first_row, chunk.first_line - chunk.first_row
        for data in _split_rows(_blocks(chunk)):
            yield RawRow(row, row + offset, data)
            row += 1

    def first_line(self, path: str) -> bytes:
        """The first line, without its end and byte-order mark."""
        line = b""
        with (_open_gzip if _is_gzip(path) else storage.open_input)(path) as stream:
            while b"\n" not in line and (block := stream.read(_TAIL_BYTES)):
                line += block
        return line.split(b"\n", 1)[0].removeprefix(_BOM).removesuffix(b"\r")

    def cells(self, line: str, names: Sequence[str]) -> list[str]:
        """Split at tabs; cells beyond the columns are kept at the end. Raises DataError for a blank line or missing cells."""
        if not line:
            raise DataError("the line is blank")
        cells = line.split("\t")
        if len(cells) < len(names):
            found = "1 column" if len(cells) == 1 else f"{len(cells)} columns"
            raise DataError(f"{found} where {len(names)} are needed ({', '.join(names)}), split at tabs")
        return cells


def _is_gzip(path: str) -> bool:
    return path.endswith(".gz")


def _count_plain(item: Range) -> Piece | None:
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
        digest, rows, stop, last = hashlib.blake2b(body, digest_size=16), body.count(b"\n"), item.stop, body[-1:]
        while last != b"\n" and (block := stream.read(_TAIL_BYTES)):
            block = block[: block.find(b"\n") + 1 or len(block)]
            digest.update(block)
            stop += len(block)
            last = block[-1:]
            rows += last == b"\n"
    return Piece(item.start - lead + begin, stop, rows + (last != b"\n"), digest.hexdigest())


def _content_start(data: bytes, skip_header: bool) -> int:
    """Offset of the first row at the start of a file; the length of ``data`` when no row starts in it."""
    start = len(_BOM) if data.startswith(_BOM) else 0
    return (data.find(b"\n", start) + 1 or len(data)) if skip_header else start


def _count_gzip(item: Range) -> Piece | None:
    digest, rows, last = hashlib.blake2b(digest_size=16), 0, b""
    with _open_gzip(item.path) as stream:
        start = len(stream.read(len(_BOM))) if stream.peek(len(_BOM)).startswith(_BOM) else 0
        if item.skip_header:
            start += len(stream.readline())
        stop = start
        while block := stream.read(CHUNK_BYTES):
            digest.update(block)
            stop += len(block)
            rows += block.count(b"\n")
            last = block[-1:]
    return Piece(start, stop, rows + (last != b"\n"), digest.hexdigest()) if last else None


@contextmanager
def _open_gzip(path: str) -> Iterator[gzip.GzipFile]:
    with storage.open_input(path) as stored:
        try:
            with gzip.GzipFile(fileobj=stored, mode="rb") as stream:
                yield stream
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{path} is not a whole gzip file ({error}); compress or copy it again") from None


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
    with (_open_gzip if _is_gzip(chunk.path) else storage.open_input)(chunk.path) as stream:
        stream.seek(chunk.start)
        left = chunk.stop - chunk.start
        while block := stream.read(min(left, CHUNK_BYTES)):
            digest.update(block)
            left -= len(block)
            yield block
    if left or digest.hexdigest() != chunk.digest:
        raise changed(chunk.path)
