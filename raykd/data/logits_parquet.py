"""Import of teacher logits from Parquet: keyed by row name, or in the order of the source rows.

The column holds a list of floats for each row. With columns ``shard`` and ``row`` (position of the file among the sorted source
files, number of the row in it) rows may have any order, and may include rows that are not trained on. Without them, row i of
the file belongs to source row i, as in :mod:`raykd.data.logits_tsv`. A file whose schema has the metadata
``raykd.rows_fingerprint`` is accepted only for the rows with that fingerprint.
"""

import hashlib
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from raykd.data import file_systems, storage
from raykd.data.logits_tsv import SourceLines, name_files
from raykd.data.parquet_files import GROUP_ROWS
from raykd.data.side_tables import ROW_ID, LogitsArray, SideTable, commit, write_logits
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError

COLUMN = "logits"
FINGERPRINT = b"raykd.rows_fingerprint"


def import_parquet(path: str, prepared: TokenisedSet, *, out: str, column: str = COLUMN) -> SideTable:
    """Convert logits into a side table at ``out``.

    Raises DataError: not Parquet, no such column or not of lists of numbers, made for other rows, another number of rows, a row
    missing or repeated, missing values, numbers that are not finite, another number of logits than labels.
    """
    file = open_parquet(path)
    _check_schema(file, path, column, prepared)
    parse_matrix = _MatrixParser(path, None if prepared.labels is None else len(prepared.labels))
    keyed = set(ROW_ID) <= set(file.schema_arrow.names)
    source: _LogitsSource = (_KeyedLogits if keyed else _OrderedLogits)(file, path, column, prepared, parse_matrix)
    parts = write_logits(out, prepared, COLUMN, source.take)
    return commit(out, prepared, parts, [COLUMN], {"kind": "parquet", "path": path, "column": column})


def file_digest(path: str) -> str:
    """Hash of a file's bytes."""
    digest = hashlib.blake2b(digest_size=16)
    with storage.open_input(path) as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


class _LogitsSource(Protocol):
    def take(self, names: pa.Table) -> LogitsArray:
        """Logits ``[n, C]`` of the rows of a group."""
        ...


class _MatrixParser:
    """Validates a column of lists of numbers and converts it to a matrix."""

    def __init__(self, path: str, width: int | None) -> None:
        self._path, self._width = path, width

    def __call__(self, column: pa.Array, first: int) -> LogitsArray:
        """Logits ``[n, C]`` of a column whose first row is row ``first`` of the file."""
        if column.null_count or column.flatten().null_count:
            last = first + len(column) - 1
            raise DataError(f"{self._path} has missing values in rows {first} to {last} (from 0); every row needs all")
        widths = np.asarray(pa.compute.list_value_length(column))
        self._width = int(widths[0]) if self._width is None and len(widths) else self._width
        wrong = np.flatnonzero(widths != self._width)
        if len(wrong):
            found = int(widths[wrong[0]])
            raise self._error(first + int(wrong[0]), f"{found} values, where {self._width} are needed, one for each label")
        logits = column.flatten().to_numpy(zero_copy_only=False).astype(np.float32).reshape(len(column), -1)
        wrong = np.flatnonzero(~np.isfinite(logits).all(axis=1))
        if len(wrong):
            shown = logits[wrong[0]].tolist()
            raise self._error(first + int(wrong[0]), f"{shown} is not finite; predict that row again")
        return np.asarray(logits)

    def _error(self, row: int, reason: str) -> DataError:
        return DataError(f"{self._path}, row {row} (from 0): {reason}")


class _OrderedLogits:
    """Logits in the order of the source rows; memory holds one batch of ``GROUP_ROWS`` rows."""

    def __init__(
        self, file: pq.ParquetFile, path: str, column: str, prepared: TokenisedSet, parse_matrix: _MatrixParser
    ) -> None:
        self._lines, self._parse_matrix = SourceLines(prepared), parse_matrix
        found = file.metadata.num_rows
        if found != self._lines.total:
            raise DataError(
                f"{path} has {found} rows, but {name_files(prepared)} {self._lines.total} rows; row i belongs to row i, so "
                f"give the logits of these files, or name rows in columns {' and '.join(ROW_ID)}"
            )
        self._batches = file.iter_batches(GROUP_ROWS, columns=[column])
        self._start, self._current = 0, np.empty((0, 0), np.float32)

    def take(self, names: pa.Table) -> LogitsArray:
        wanted, found = self._lines.of(names), []
        while len(wanted):
            stop = self._start + len(self._current)
            here, wanted = wanted[wanted < stop], wanted[wanted >= stop]
            if len(here):
                found.append(self._current[here - self._start])
            if len(wanted):
                self._start = stop
                self._current = self._parse_matrix(next(self._batches).column(0), stop)
        return np.concatenate(found)


class _KeyedLogits:
    """Logits keyed by row name; memory holds all logits of the file."""

    def __init__(
        self, file: pq.ParquetFile, path: str, column: str, prepared: TokenisedSet, parse_matrix: _MatrixParser
    ) -> None:
        self._path = path
        table = file.read([*ROW_ID, column]).combine_chunks()
        shard, row = (table[name].to_numpy().astype(np.int64) for name in ROW_ID)
        sizes = np.array([source.rows for source in prepared.sources], np.int64)
        known = (shard >= 0) & (shard < len(sizes)) & (row >= 0)
        outside = np.flatnonzero(~known | (row >= sizes[np.where(known, shard, 0)]))
        if len(outside):
            at = int(outside[0])
            raise DataError(f"{path} names {self._name(shard[at], row[at])}, but {name_files(prepared)} {sizes.tolist()} rows")
        self._lines = SourceLines(prepared)
        numbers = self._lines.numbers(shard, row)
        self._order = np.argsort(numbers, kind="stable")
        self._numbers = numbers[self._order]
        twice = np.flatnonzero(np.diff(self._numbers) == 0)
        if len(twice):
            at = int(self._order[twice[0]])
            raise DataError(f"{path} has {self._name(shard[at], row[at])} twice; give each row once")
        self._logits = parse_matrix(table[column].chunk(0), 0) if len(table) else np.empty((0, 0), np.float32)

    def take(self, names: pa.Table) -> LogitsArray:
        wanted = self._lines.of(names)
        positions = np.searchsorted(self._numbers, wanted)
        missing = np.flatnonzero(np.append(self._numbers, -1)[positions] != wanted)
        if len(missing):
            at = int(missing[0])
            name = self._name(names["shard"][at].as_py(), names["row"][at].as_py())
            raise DataError(f"{self._path} has no logits for {name}; give those of every training row")
        return np.asarray(self._logits[self._order[positions]])

    @staticmethod
    def _name(shard: int, row: int) -> str:
        return f"row {row} of file {shard} (both from 0)"


def open_parquet(path: str) -> pq.ParquetFile:
    """Open a file, local or remote. Raises DataError when it is no Parquet file."""
    filesystem, inner = file_systems.open_fs(path)
    with file_systems.path_errors(path):
        stream = filesystem.open_input_file(inner)
    try:
        return pq.ParquetFile(stream)
    except pa.ArrowInvalid as error:
        raise DataError(f"{path} is no Parquet file ({error}); a TSV needs another ending") from None


def _check_schema(file: pq.ParquetFile, path: str, column: str, prepared: TokenisedSet) -> None:
    schema = file.schema_arrow
    if column not in schema.names:
        raise DataError(f"{path} has no column {column!r}, but {', '.join(schema.names)}; set logits.column to one of them")
    kind = schema.field(column).type
    is_list = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not is_list or not (pa.types.is_floating(kind.value_type) or pa.types.is_integer(kind.value_type)):
        raise DataError(f"{path}: column {column!r} is of type {kind}; logits are a list of numbers in each row")
    fingerprint = (schema.metadata or {}).get(FINGERPRINT, b"").decode()
    if fingerprint and fingerprint != prepared.rows_fingerprint:
        raise DataError(
            f"{path} was made for other rows than {name_files(prepared)} now ({fingerprint}, not {prepared.rows_fingerprint}); "
            "predict these files again"
        )
