"""From one chunk of a source file to one Parquet part file of a prepared set: parse, filter by split, tokenise, write."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from raykd.data.examples import Example, RowParser
from raykd.data.label_codec import LabelCodec
from raykd.data.parquet_files import GROUP_ROWS, PartInfo, write_part
from raykd.data.readers import Chunk, FileFormat, RawRow, reader_of
from raykd.data.readers.compression import open_rows, seek
from raykd.data.schema import CellValue, Column
from raykd.data.splits import HashRange, text_key
from raykd.data.tokenizer import RowTokenizer, Text
from raykd.data.views import MASK, ViewSettings
from raykd.errors import DataError

_SHOWN_BYTES = 64 << 10
_ARROW_TYPES = {"str": pa.string(), "int": pa.int64(), "float": pa.float64()}


@dataclass(frozen=True)
class RejectedRow:
    """A row that did not parse."""

    file: str
    line: int
    """From 1."""
    reason: str
    place: str
    """File and line, or row, in words."""
    data: bytes
    """The row, or its first 64 KiB."""


@dataclass(frozen=True)
class ChunkResult:
    """Outcome of a chunk: ``read == part.rows + len(rejected) + filtered``."""

    part: PartInfo
    read: int
    rejected: tuple[RejectedRow, ...]
    filtered: int
    excluded: int
    """Filtered rows whose text is among the excluded ones."""
    max_length: int
    """Longest row in tokens."""
    text_keys: bytes
    """Hashes of the normalised texts of the rows written, eight bytes each, the lowest first."""


@dataclass(frozen=True)
class ChunkJob:
    """Settings that all chunks of a set share; called with a chunk, it writes the chunk's part file."""

    folder: str
    owner: str
    """Prefix in the names of the files that this run writes."""
    parser: RowParser
    keep: HashRange | None
    codec: LabelCodec | None
    """Codec of the label column; None for unlabelled rows."""
    extra_columns: tuple[Column, ...]
    tokenizer: RowTokenizer
    sequence_length: int
    files: FileFormat
    max_rejected_rows: int
    excluded: frozenset[int] = frozenset()
    """Hashes of normalised texts whose rows are left out."""
    chosen: Mapping[int, frozenset[int]] | None = None
    """Numbers of the chosen rows by shard; None selects all rows."""
    others: bool = False
    """Select the rows that are not chosen."""
    views: ViewSettings | None = None
    """Write views of the rows instead of the rows; view v of a row has its shard plus v times ``num_shards``."""
    num_shards: int = 1
    """Number of source files."""
    mask_token: str = MASK
    """The tokenizer's spelling of a masked word."""
    single_row_shards: frozenset[int] = frozenset()
    """Shards whose file has one row, however it is cut into chunks."""

    def __call__(self, item: tuple[int, Chunk]) -> ChunkResult:
        """Write the part file of a numbered chunk. Stops early once more than ``max_rejected_rows`` rows are rejected."""
        position, chunk = item
        work = _ChunkPass(self, chunk)
        part = write_part(self.folder, position, work.tables(), owner=self.owner)
        return ChunkResult(
            part=part,
            read=work.read,
            rejected=tuple(work.rejected),
            filtered=work.filtered,
            excluded=work.excluded,
            max_length=work.max_length,
            text_keys=np.array(work.text_keys, "<u8").tobytes(),
        )

    def selects(self, shard: int, row: int) -> bool:
        """True for a row of the selection, or any row without one."""
        return self.chosen is None or (row in self.chosen.get(shard, ())) != self.others


class _RowColumns:
    """Rows of a group as columns: one object per row would make garbage collection scan all of them."""

    def __init__(self) -> None:
        self.shards: list[int] = []
        self.numbers: list[int] = []
        self.texts: list[Text] = []
        self.labels: list[Any] = []
        self.extras: list[tuple[CellValue, ...]] = []

    def add(self, shard: int, number: int, example: Example) -> None:
        """Append a row."""
        self.shards.append(shard)
        self.numbers.append(number)
        self.texts.append(example.text)
        self.labels.append(example.label)
        self.extras.append(example.extras)


class _ChunkPass:
    """One pass over a chunk, with its counts."""

    def __init__(self, job: ChunkJob, chunk: Chunk) -> None:
        self._job, self._chunk, self._reader = job, chunk, reader_of(chunk.path, job.files)
        self.read = self.filtered = self.excluded = self.max_length = 0
        self.rejected: list[RejectedRow] = []
        self.text_keys: list[int] = []

    def tables(self) -> Iterator[pa.Table]:
        """The kept rows or their views, at most ``GROUP_ROWS`` at a time."""
        views = self._job.views
        rows, limit = _RowColumns(), GROUP_ROWS if views is None else max(1, GROUP_ROWS // views.views)
        for raw in self._reader.read(self._chunk, self._job.parser.names):
            self.read += 1
            example = self._parse(raw)
            if example is not None:
                rows.add(self._chunk.shard, raw.row, example)
                if len(rows.numbers) == limit:
                    yield from self._tables(rows)
                    rows = _RowColumns()
            elif len(self.rejected) > self._job.max_rejected_rows:
                return
        yield from self._tables(rows)

    def _tables(self, rows: _RowColumns) -> Iterator[pa.Table]:
        """The rows, or their views, as a table; nothing without any."""
        rows = rows if self._job.views is None else self._views_of(rows, self._job.views)
        if rows.numbers:
            yield self._table(rows)

    def _views_of(self, rows: _RowColumns, settings: ViewSettings) -> _RowColumns:
        """Views of the rows, but those with an excluded text. They have no label."""
        made, names = _RowColumns(), list(zip(rows.shards, rows.numbers, strict=True))
        for view in settings.of(rows.texts, names):
            key = text_key(view.text(MASK))
            if key not in self._job.excluded:
                shard = rows.shards[view.row] + view.number * self._job.num_shards
                made.add(shard, rows.numbers[view.row], Example(view.text(self._job.mask_token), None, ()))
                self.text_keys.append(key)
        return made

    def _parse(self, raw: RawRow) -> Example | None:
        try:
            example = self._job.parser.parse(raw.data, self._reader)
            self._check_line_ends(raw)
            self._job.tokenizer.check(example.text)
        except DataError as error:
            place = self._reader.place(self._chunk.path, raw)
            self.rejected.append(RejectedRow(self._chunk.path, raw.line, str(error), place, _shown(raw.data)))
            return None
        key = text_key(example.text)
        outside = self._job.keep is not None and key not in self._job.keep
        if outside or not self._job.selects(self._chunk.shard, raw.row):
            self.filtered += 1
            return None
        if key in self._job.excluded:
            self.filtered += 1
            self.excluded += 1
            return None
        if self._job.views is None:
            self.text_keys.append(key)
        return example

    def _check_line_ends(self, raw: RawRow) -> None:
        """Raise DataError for a file of one row that holds carriage returns and no line feed: line ends of classic Mac OS."""
        one_line = self._job.parser.strict and self._chunk.shard in self._job.single_row_shards
        if one_line and isinstance(raw.data, bytes) and b"\r" in raw.data and not _ends_in_line_feed(self._chunk):
            raise DataError(
                "the file is one row that holds carriage returns, which are no line ends here; end lines with line feeds"
            )

    def _table(self, rows: _RowColumns) -> pa.Table:
        encoded = self._job.tokenizer.encode(rows.texts, sequence_length=self._job.sequence_length)
        self.max_length = max(self.max_length, int(encoded.lengths.max()))
        columns: dict[str, pa.Array] = {
            "shard": pa.array(rows.shards, pa.int32()),
            "row": pa.array(rows.numbers, pa.int64()),
            "length": pa.array(encoded.lengths),
            "input_ids": encoded.input_ids,
        }
        if encoded.token_type_ids is not None:
            columns["token_type_ids"] = encoded.token_type_ids
        if self._job.codec is not None:
            columns["label"] = self._job.codec.column(rows.labels)
        for index, column in enumerate(self._job.extra_columns):
            columns[column.name] = pa.array([extras[index] for extras in rows.extras], _arrow_type(column))
        fields = [pa.field(name, column.type, nullable=False) for name, column in columns.items()]
        return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields))


def _ends_in_line_feed(chunk: Chunk) -> bool:
    with open_rows(chunk.path) as stream:
        seek(chunk.path, stream, chunk.stop - 1)
        return bool(stream.read(1) == b"\n")


def _shown(data: Any) -> bytes:
    """The beginning of a row's content."""
    content = data if isinstance(data, bytes) else repr(data).encode(errors="backslashreplace")
    return content[:_SHOWN_BYTES]


def _arrow_type(column: Column) -> pa.DataType:
    value = _ARROW_TYPES[column.type]
    return pa.list_(pa.field("element", value, nullable=False)) if column.is_list else value
