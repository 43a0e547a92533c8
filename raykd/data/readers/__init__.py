"""Readers of every supported file format: count rows into chunks, then read chunk by chunk."""

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from raykd.config.file_formats import uncompressed_name
from raykd.data.readers.arrow import ArrowReader
from raykd.data.readers.compression import is_compressed
from raykd.data.readers.csv import CsvReader
from raykd.data.readers.json_lines import JsonLinesReader
from raykd.data.readers.parquet import ParquetReader
from raykd.data.readers.reader import CHUNK_BYTES, TSV, Chunk, FileFormat, Piece, Range, RawRow, Reader
from raykd.data.readers.tsv import TsvReader
from raykd.errors import ConfigError, DataError

__all__ = [
    "CHUNK_BYTES",
    "TSV",
    "Chunk",
    "FileFormat",
    "MapFn",
    "RawRow",
    "Reader",
    "read_chunk",
    "reader_of",
    "scan",
]

READERS: Mapping[str, type[Reader]] = {
    "tsv": TsvReader,
    "csv": CsvReader,
    "jsonl": JsonLinesReader,
    "parquet": ParquetReader,
    "arrow": ArrowReader,
}
"""Reader of each format by its name, the value of `data.format`; the first reads files of unknown names."""

MapFn = Callable[[Callable[[Any], Any], Sequence[Any]], Iterable[Any]]
"""Like ``map``: results in the order of the items; may compute them elsewhere."""


def reader_of(path: str, files: FileFormat = TSV) -> Reader:
    """The reader of a file. Raises ConfigError for an unknown format, DataError for a compressed file of a binary one."""
    if files.name is not None and files.name not in READERS:
        raise ConfigError(
            f"data.format = {files.name!r}: formats are {', '.join(READERS)}; null goes by the names of the files"
        )
    name = uncompressed_name(path)
    by_name = (reader for reader in READERS.values() if name.endswith(reader.suffixes))
    reader = READERS[files.name] if files.name is not None else next(by_name, TsvReader)
    if is_compressed(path) and not reader.compressible:
        raise DataError(f"{path}: files of this format are compressed inside; decompress it")
    return reader(files)


def scan(
    paths: Sequence[str], skip_header: bool, *, files: FileFormat = TSV, map_fn: MapFn = map, chunk_bytes: int = CHUNK_BYTES
) -> list[Chunk]:
    """The chunks of some files, in file order; a file without rows has none. Blank lines at the end of a file are no rows.

    Raises DataError when a file is absent or damaged, ResourceError when it cannot be read.
    """
    if chunk_bytes < 4:
        raise ValueError(f"chunk_bytes must be at least 4, got {chunk_bytes}")
    readers = [(path, reader_of(path, files)) for path in paths]
    ranges = [
        part for path, reader in readers for part in reader.ranges(path, skip_header=skip_header, chunk_bytes=chunk_bytes)
    ]
    pieces: dict[str, list[Piece]] = {path: [] for path in paths}
    for part, piece in zip(ranges, map_fn(functools.partial(_count, files=files), ranges), strict=True):
        if piece is not None:
            pieces[part.path].append(piece)
    headers = {part.path for part in ranges if part.skip_header}
    return [chunk for shard, path in enumerate(paths) for chunk in _number(shard, path, pieces[path], path in headers)]


def read_chunk(chunk: Chunk, names: Sequence[str] = (), *, files: FileFormat = TSV) -> Iterator[RawRow]:
    """Stream the rows of a chunk; see :meth:`Reader.read`."""
    return reader_of(chunk.path, files).read(chunk, names)


def _count(part: Range, *, files: FileFormat) -> Piece | None:
    return reader_of(part.path, files).count(part)


def _number(shard: int, path: str, pieces: Sequence[Piece], has_header: bool) -> Iterator[Chunk]:
    first_row = 0
    for start, stop, rows, digest, _ in _without_blank_end(pieces):
        yield Chunk(shard, path, start, stop, first_row, rows, first_row + 1 + has_header, digest)
        first_row += rows


def _without_blank_end(pieces: Sequence[Piece]) -> list[Piece]:
    """The pieces of a file up to the last one with content, whose rows end with it."""
    filled = [position for position, piece in enumerate(pieces) if piece.blank < piece.rows]
    if not filled:
        return []
    last = pieces[filled[-1]]
    return [*pieces[: filled[-1]], last._replace(rows=last.rows - last.blank, blank=0)]
