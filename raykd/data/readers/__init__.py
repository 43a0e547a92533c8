"""Readers of every supported file format, chosen by the file's name: count rows into chunks, then read chunk by chunk."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from raykd.data.readers.reader import CHUNK_BYTES, Chunk, Piece, Range, RawRow, Reader
from raykd.data.readers.tsv import TsvReader

__all__ = ["CHUNK_BYTES", "Chunk", "MapFn", "RawRow", "Reader", "read_chunk", "reader_of", "scan"]

READERS: Mapping[str, Reader] = {".tsv": TsvReader()}
"""Reader by file name extension, without a trailing .gz."""
DEFAULT: Reader = READERS[".tsv"]
"""Reader of files with any other name."""

MapFn = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
"""Like ``map``: results in the order of the items; may compute them elsewhere."""


def reader_of(path: str) -> Reader:
    """The reader of a file."""
    name = path.removesuffix(".gz")
    return next((reader for suffix, reader in READERS.items() if name.endswith(suffix)), DEFAULT)


def scan(paths: Sequence[str], skip_header: bool, *, map_fn: MapFn = map, chunk_bytes: int = CHUNK_BYTES) -> list[Chunk]:
    """The chunks of some files, in file order; a file without rows has none. Each file is read once.

    Raises DataError when a file is absent or damaged, ResourceError when it cannot be read.
    """
    if chunk_bytes < 4:
        raise ValueError(f"chunk_bytes must be at least 4, got {chunk_bytes}")
    ranges = [part for path in paths for part in reader_of(path).ranges(path, skip_header=skip_header, chunk_bytes=chunk_bytes)]
    pieces: dict[str, list[Piece]] = {path: [] for path in paths}
    for part, piece in zip(ranges, map_fn(_count, ranges), strict=True):
        if piece is not None:
            pieces[part.path].append(piece)
    headers = {part.path for part in ranges if part.skip_header}
    return [chunk for shard, path in enumerate(paths) for chunk in _number(shard, path, pieces[path], path in headers)]


def read_chunk(chunk: Chunk) -> Iterator[RawRow]:
    """Stream the rows of a chunk. Raises DataError, at the end at the latest, when its content has changed since counting."""
    return reader_of(chunk.path).read(chunk)


def _count(part: Range) -> Piece | None:
    return reader_of(part.path).count(part)


def _number(shard: int, path: str, pieces: Sequence[Piece], has_header: bool) -> Iterator[Chunk]:
    first_row = 0
    for start, stop, rows, digest in pieces:
        yield Chunk(shard, path, start, stop, first_row, rows, first_row + 1 + has_header, digest)
        first_row += rows
