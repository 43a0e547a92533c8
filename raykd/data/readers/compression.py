"""Streams of files as they are, and decompressed where their names end in .gz or .zst."""

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pyarrow as pa

from raykd.config.file_formats import COMPRESSED
from raykd.data import storage
from raykd.errors import DataError

_BUFFER_BYTES = 1 << 20


def is_compressed(path: str) -> bool:
    """True for a name with the ending of a compression."""
    return path.endswith(COMPRESSED)


def open_rows(path: str) -> AbstractContextManager[Any]:
    """Binary stream of a file's content, decompressed. Raises DataError for a damaged compressed file."""
    if path.endswith(".gz"):
        return _open_gzip(path)
    return _open_zstd(path) if path.endswith(".zst") else storage.open_input(path)


def seek(path: str, stream: Any, position: int) -> None:
    """Move a newly opened stream of :func:`open_rows` forward to a position after decompression."""
    if not is_compressed(path):
        stream.seek(position)
        return
    while position and (skipped := len(stream.read(min(position, _BUFFER_BYTES)))):
        position -= skipped


@contextmanager
def _open_gzip(path: str) -> Iterator[gzip.GzipFile]:
    with storage.open_input(path) as stored:
        try:
            with gzip.GzipFile(fileobj=stored, mode="rb") as stream:
                yield stream
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{path} is not a whole gzip file ({error}); compress or copy it again") from None


@contextmanager
def _open_zstd(path: str) -> Iterator[io.BufferedReader]:
    with storage.open_input(path) as stored:
        try:
            yield io.BufferedReader(pa.CompressedInputStream(stored, "zstd"), _BUFFER_BYTES)
        except OSError as error:
            if "ZSTD" not in str(error) and "compressed stream" not in str(error):
                raise
            raise DataError(f"{path} is not a whole zstd file ({error}); compress or copy it again") from None
