r"""Rows of text files in pieces that many tasks can read: a counting pass finds the pieces, then each is read by itself.

A row ends at ``\n`` with an optional ``\r`` before it, and at nothing else; a byte-order mark at the start of a file is not
part of it. A plain file is cut into chunks of whole rows, each owning the rows that *start* in its ``CHUNK_BYTES``; a ``.gz``
file is one chunk. Memory holds one block of ``CHUNK_BYTES``, or the longest row if that is longer.
"""

import gzip
import hashlib
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

from raykd.data import storage
from raykd.errors import DataError

CHUNK_BYTES = 4 << 20
"""Fixed, so that row groups do not depend on the machine."""
_BOM = b"\xef\xbb\xbf"
_TAIL_BYTES = 64 << 10


@dataclass(frozen=True)
class Chunk:
    """Whole rows of a file, one after the other."""

    shard: int
    """Position of the file among the files, sorted."""
    path: str
    start: int
    """Bytes, after decompression."""
    stop: int
    first_row: int
    """Rows of the file before this chunk, the header not counted."""
    rows: int
    first_line: int
    """Line number of the first row, from 1."""
    digest: str
    """blake2b of the bytes from ``start`` to ``stop``."""


class RawRow(NamedTuple):
    """A row as it stands in its file, without its end."""

    row: int
    """Number in the file, from 0, the header not counted."""
    line: int
    """Number of the line, from 1."""
    data: bytes


@dataclass(frozen=True)
class _Range:
    """Bytes of a file to look for rows in; a compressed file has one."""

    path: str
    start: int
    stop: int
    skip_header: bool


class _Piece(NamedTuple):
    """The rows that start in a range."""

    start: int
    stop: int
    rows: int
    digest: str


MapFn = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
"""Like ``map``: results in the order of the items; may compute them elsewhere."""


def scan(paths: Sequence[str], skip_header: bool, *, map_fn: MapFn = map, chunk_bytes: int = CHUNK_BYTES) -> list[Chunk]:
    """The chunks of some files, in file order; a file without rows has none. Each byte is read once.

    Raises DataError when a file is absent or not a whole gzip file, ResourceError when it cannot be read.
    """
    if chunk_bytes < 4:
        raise ValueError(f"chunk_bytes must be at least 4, got {chunk_bytes}")
    ranges = [item for path in paths for item in _ranges(path, skip_header, chunk_bytes)]
    pieces: dict[str, list[_Piece]] = {path: [] for path in paths}
    for item, piece in zip(ranges, map_fn(_scan_range, ranges), strict=True):
        if piece is not None:
            pieces[item.path].append(piece)
    return [chunk for shard, path in enumerate(paths) for chunk in _number(shard, path, pieces[path], skip_header)]


def _is_gzip(path: str) -> bool:
    return path.endswith(".gz")


def _ranges(path: str, skip_header: bool, chunk_bytes: int) -> Iterator[_Range]:
    size = storage.file_size(path)
    step = max(size, 1) if _is_gzip(path) else chunk_bytes
    for start in range(0, size, step):
        yield _Range(path, start, min(start + step, size), skip_header and start == 0)


def _number(shard: int, path: str, pieces: Sequence[_Piece], skip_header: bool) -> Iterator[Chunk]:
    first_row = 0
    for start, stop, rows, digest in pieces:
        yield Chunk(shard, path, start, stop, first_row, rows, first_row + 1 + skip_header, digest)
        first_row += rows


def _scan_range(item: _Range) -> _Piece | None:
    return _scan_gzip(item) if _is_gzip(item.path) else _scan_plain(item)


def _scan_plain(item: _Range) -> _Piece | None:
    lead = min(item.start, 1)  # a row starts at the range's first byte when the byte before it ends a row
    with storage.open_input(item.path) as stream:
        stream.seek(item.start - lead)
        data = stream.read(item.stop - item.start + lead)
        if len(data) < item.stop - item.start + lead:
            raise _changed(item.path)
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
    return _Piece(item.start - lead + begin, stop, rows + (last != b"\n"), digest.hexdigest())


def _content_start(data: bytes, skip_header: bool) -> int:
    """Where the rows begin at the start of a file; its length when no row starts in ``data``."""
    start = len(_BOM) if data.startswith(_BOM) else 0
    return (data.find(b"\n", start) + 1 or len(data)) if skip_header else start


def _scan_gzip(item: _Range) -> _Piece | None:
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
    return _Piece(start, stop, rows + (last != b"\n"), digest.hexdigest()) if last else None


@contextmanager
def _open_gzip(path: str) -> Iterator[gzip.GzipFile]:
    with storage.open_input(path) as stored:
        try:
            with gzip.GzipFile(fileobj=stored, mode="rb") as stream:
                yield stream
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{path} is not a whole gzip file ({error}); compress or copy it again") from None


def _changed(path: str) -> DataError:
    return DataError(f"{path} changed while it was read; leave it alone and run again")


def read_chunk(chunk: Chunk) -> Iterator[RawRow]:
    """The rows of a chunk, streamed. Raises DataError, at the end at the latest, when its bytes are not those counted."""
    row, offset = chunk.first_row, chunk.first_line - chunk.first_row
    for data in _split_rows(_blocks(chunk)):
        yield RawRow(row, row + offset, data)
        row += 1


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
        raise _changed(chunk.path)
