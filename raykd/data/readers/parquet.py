"""Parquet files: chunks are consecutive row groups, at least one; columns are found by name, struct fields as ``a.b``."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pyarrow as pa
import pyarrow.parquet as pq

from raykd.config.file_formats import SUFFIXES
from raykd.data import storage
from raykd.data.readers.columnar import ColumnarReader, check_names, rows_of, schema_text
from raykd.data.readers.reader import CHUNK_BYTES, Chunk, Piece, Range, RawRow, changed
from raykd.errors import DataError

_BATCH_ROWS = 1024
_BUFFER_BYTES = 1 << 20


class ParquetReader(ColumnarReader):
    """Reads row groups, of each the columns asked for."""

    suffixes = SUFFIXES["parquet"]

    def ranges(self, path: str, *, skip_header: bool, chunk_bytes: int) -> Iterator[Range]:
        """Byte ranges of row groups, which are joined up to ``chunk_bytes``."""
        del skip_header
        with _opened(path) as file:
            metadata = file.metadata
            groups = range(metadata.num_row_groups if metadata.num_columns else 0)  # a row without columns holds nothing
            bounds = [_bounds(metadata.row_group(group)) for group in groups]
        start: int | None = None
        for position, (first, stop) in enumerate(bounds):
            start = first if start is None else start
            if position + 1 == len(bounds) or bounds[position + 1][1] - start > chunk_bytes:
                yield Range(path, start, stop, skip_header=False)
                start = None

    def count(self, part: Range) -> Piece | None:
        """Rows by the file's metadata; the digest is that of the schema and the stored bytes."""
        with _opened(part.path) as file:
            metadata, schema = file.metadata, file.schema_arrow
            rows = sum(metadata.row_group(group).num_rows for group in _groups(metadata, part.start, part.stop))
        return Piece(part.start, part.stop, rows, _digest(part.path, schema, part.start, part.stop)) if rows else None

    def read(self, chunk: Chunk, names: Sequence[str]) -> Iterator[RawRow]:
        """Stream the rows of a chunk in small batches."""
        with _opened(chunk.path) as file:
            if _digest(chunk.path, file.schema_arrow, chunk.start, chunk.stop) != chunk.digest:
                raise changed(chunk.path)
            check_names(chunk.path, file.schema_arrow, names)
            groups = _groups(file.metadata, chunk.start, chunk.stop)
            batches = file.iter_batches(_BATCH_ROWS, row_groups=groups, columns=list(dict.fromkeys(names)), use_threads=False)
            yield from rows_of(batches, names, chunk.first_row)

    def check(self, path: str, names: Sequence[str]) -> None:
        """Look for the columns in the file's schema."""
        with _opened(path) as file:
            check_names(path, file.schema_arrow, names)

    def place(self, path: str, row: RawRow) -> str:
        """The number of the row group, and of the row in it."""
        first = 0
        with _opened(path) as file:
            for group in range(file.metadata.num_row_groups):
                rows = file.metadata.row_group(group).num_rows
                if row.row < first + rows:
                    return f"{path}, row group {group}, row {row.row - first} (both from 0)"
                first += rows
        return f"{path}, row {row.row} (from 0)"


@contextmanager
def _opened(path: str) -> Iterator[pq.ParquetFile]:
    """An open file. Raises DataError when it is not Parquet, or not whole."""
    with storage.open_input(path) as stream:
        try:
            yield pq.ParquetFile(stream, buffer_size=_BUFFER_BYTES)
        except (pa.ArrowException, OSError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise DataError(f"{path} is not a whole Parquet file ({reason}); write or copy it again") from None


def _bounds(group: pq.RowGroupMetaData) -> tuple[int, int]:
    """First byte of a row group, and the one after its last."""
    columns = [group.column(index) for index in range(group.num_columns)]
    starts = [
        column.dictionary_page_offset or column.data_page_offset if column.has_dictionary_page else column.data_page_offset
        for column in columns
    ]
    stops = [start + column.total_compressed_size for start, column in zip(starts, columns, strict=True)]
    return min(starts), max(stops)


def _groups(metadata: pq.FileMetaData, start: int, stop: int) -> list[int]:
    """Numbers of the row groups in a byte range."""
    bounds = [(group, *_bounds(metadata.row_group(group))) for group in range(metadata.num_row_groups)]
    return [group for group, first, last in bounds if start <= first and last <= stop]


def _digest(path: str, schema: pa.Schema, start: int, stop: int) -> str:
    digest = hashlib.blake2b(schema_text(schema), digest_size=16)
    with storage.open_input(path) as stream:
        stream.seek(start)
        while start < stop and (block := stream.read(min(stop - start, CHUNK_BYTES))):
            digest.update(block)
            start += len(block)
    return digest.hexdigest()
