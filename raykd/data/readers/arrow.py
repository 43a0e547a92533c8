"""Arrow files, streamed or with a footer (Feather), as ``save_to_disk`` of Hugging Face datasets writes them into a folder.

Chunks are consecutive record batches. A file with a footer is a stream between its mark and the footer.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pyarrow as pa

from raykd.config.file_formats import SUFFIXES
from raykd.data import storage
from raykd.data.readers.columnar import ColumnarReader, check_names, rows_of, schema_text
from raykd.data.readers.reader import Chunk, Piece, Range, RawRow, changed
from raykd.errors import DataError

_MARK, _MARK_BYTES = b"ARROW1", 8
_END_OF_STREAM = b"\0\0\0\0"
"""Last bytes of a stream: the length 0 of a message that does not follow."""


class ArrowReader(ColumnarReader):
    """Reads record batches."""

    suffixes = SUFFIXES["arrow"]

    def ranges(self, path: str, *, skip_header: bool, chunk_bytes: int) -> Iterator[Range]:
        """Byte ranges of batches, which are joined up to ``chunk_bytes``."""
        del skip_header
        with _opened(path) as (stream, _):
            start = stop = stream.tell()
            for end in _ends(stream):
                if stop > start and end - start > chunk_bytes:
                    yield Range(path, start, stop, skip_header=False)
                    start = stop
                stop = end
            if stop > start:
                yield Range(path, start, stop, skip_header=False)

    def count(self, part: Range) -> Piece | None:
        """Rows of the batches; the digest is that of the schema and the stored bytes."""
        digest, rows = hashlib.blake2b(digest_size=16), 0
        for batch in _batches(part.path, part.start, part.stop, digest):
            rows += batch.num_rows
        return Piece(part.start, part.stop, rows, digest.hexdigest()) if rows else None

    def read(self, chunk: Chunk, names: Sequence[str]) -> Iterator[RawRow]:
        """Stream the rows of a chunk, batch by batch."""
        self.check(chunk.path, names)
        digest = hashlib.blake2b(digest_size=16)
        yield from rows_of(_batches(chunk.path, chunk.start, chunk.stop, digest), names, chunk.first_row)
        if digest.hexdigest() != chunk.digest:
            raise changed(chunk.path)

    def check(self, path: str, names: Sequence[str]) -> None:
        """Look for the columns in the file's schema."""
        with _opened(path) as (_, schema):
            check_names(path, schema, names)

    def place(self, path: str, row: RawRow) -> str:
        """The number of the row."""
        return f"{path}, row {row.row} (from 0)"


@contextmanager
def _opened(path: str) -> Iterator[tuple[Any, pa.Schema]]:
    """A file's stream behind its schema, and the schema. Raises DataError when it is not an Arrow file, or not whole."""
    with storage.open_input(path) as stream:
        try:
            has_footer = stream.read(len(_MARK)) == _MARK
            _check_end(path, stream, _MARK if has_footer else _END_OF_STREAM)
            stream.seek(_MARK_BYTES if has_footer else 0)
            schema = pa.ipc.read_schema(stream)
            coded = [field.name for field in schema if pa.types.is_dictionary(field.type)]
            if coded:
                raise DataError(f"{path}: column {coded[0]!r} is dictionary-encoded; save it as plain values, or as Parquet")
            yield stream, schema
        except (pa.ArrowException, OSError, EOFError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"{path} is not a whole Arrow file ({reason}); write or copy it again") from None


def _check_end(path: str, stream: Any, mark: bytes) -> None:
    """Raise DataError for a file without its last bytes: one cut between two batches reads as a whole one with fewer rows."""
    stream.seek(max(stream.size() - len(mark), 0))
    if stream.read(len(mark)) != mark:
        raise DataError(f"{path} is not a whole Arrow file (it ends without Arrow's end mark); write or copy it again")


def _ends(stream: Any) -> Iterator[int]:
    """The position behind each batch from here on."""
    while _next_message(stream) is not None:
        yield stream.tell()


def _next_message(stream: Any) -> pa.Message | None:
    try:
        return pa.ipc.read_message(stream)
    except EOFError:
        return None


def _batches(path: str, start: int, stop: int, digest: Any) -> Iterator[pa.RecordBatch]:
    with _opened(path) as (stream, schema):
        digest.update(schema_text(schema))
        stream.seek(start)
        while stream.tell() < stop and (message := _next_message(stream)) is not None:
            digest.update(message.metadata)
            digest.update(message.body)
            yield pa.ipc.read_record_batch(message, schema)
