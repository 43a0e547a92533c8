"""Rows of pandas, pyarrow, Hugging Face datasets and Ray Data as Arrow batches, in their order and in bounded memory."""

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from raykd.data.readers.reader import missing_column
from raykd.errors import DataError

GROUP_ROWS = 8192
"""Rows of a row group, and those that are held in memory."""
TEXT_VALUES = "give text (str) that UTF-8 can encode in every row"
OTHER_VALUES = "give values of one type in every row: text, true and false, numbers of at most 64 bits, or lists of these"
_CONVERSION_ERRORS = (pa.ArrowException, UnicodeEncodeError, OverflowError)
TYPES = "pandas DataFrame, pyarrow Table, datasets.Dataset or ray.data.Dataset"


class ArrowRows:
    """The columns of an object that a job needs: ``texts``, and others of any type. ``name`` is the object's in errors.

    The constructor raises DataError for an object of another type, and for an absent column (with the nearest one). Missing
    values are errors unless ``allow_missing``; ``remedy`` is what such an error tells to do.
    """

    def __init__(
        self,
        name: str,
        given: Any,
        texts: Sequence[str],
        others: Sequence[str],
        *,
        allow_missing: bool = False,
        remedy: str = "remove the row, or set data.max_rejected_rows",
    ) -> None:
        source = _source_of(given)
        if source is None:
            raise DataError(f"{name} is of type {type(given).__name__}; give a {TYPES}")
        self._name, self._given, self._source = name, given, source
        self._texts, self._allow_missing, self._remedy = frozenset(texts), allow_missing, remedy
        known = source.names(given)
        wanted = [column if column in known else column.partition(".")[0] for column in (*texts, *others)]
        self._columns = list(dict.fromkeys(wanted))
        for column in self._columns:
            if known.count(column) != 1:
                several = f"several columns are called {column!r}; rename one of them"
                raise DataError(f"{name}: {several if column in known else missing_column(column, known)}")

    def write(self, path: Path) -> None:
        """Write a Parquet file whose bytes depend on the rows alone, not on the kind of object or its batches.

        Raises DataError for an object without rows, a column of text that holds something else, values that Parquet does not
        have, values of several types in a column, and missing values.
        """
        writer = None
        try:
            for group in _groups(self._tables()):
                writer = writer or pq.ParquetWriter(path, group.schema, store_schema=False, compression="zstd")
                writer.write_table(group, row_group_size=GROUP_ROWS)
        finally:
            if writer is not None:
                writer.close()
        if writer is None:
            raise DataError(f"{self._name} has no rows")

    def _tables(self) -> Iterator[pa.Table]:
        """Tables with rows, and with one schema."""
        schema, rows = None, 0
        try:
            for table in self._source.tables(self._given, self._columns):
                if table.num_rows:
                    plain = self._plain(table)
                    schema = schema or plain.schema
                    self._check_missing(plain, rows)
                    yield self._same(plain, schema)
                    rows += table.num_rows
        except ColumnError as error:
            raise self._refusal(f"column {error.column!r}", str(error), is_text=error.column in self._texts) from None
        except _CONVERSION_ERRORS as error:  # of blocks that become Arrow when they are read
            raise self._refusal("a column", str(error), is_text=False) from None

    def _refusal(self, column: str, reason: str, *, is_text: bool) -> DataError:
        """The error of a column whose values do not become an Arrow column that Parquet can hold."""
        what, remedy = ("is not text in every row", TEXT_VALUES) if is_text else ("cannot be stored", OTHER_VALUES)
        return DataError(f"{self._name}: {column} {what} ({reason.splitlines()[0]}); {remedy}")

    def _check_missing(self, table: pa.Table, first_row: int) -> None:
        if self._allow_missing:
            return
        for name in self._columns:
            missing = table.column(name).is_null()
            if (row := pc.index(missing, True).as_py()) >= 0:
                raise DataError(
                    f"{self._name}, row {first_row + row} (from 0): column {name!r} is missing (null); {self._remedy}"
                )

    def _plain(self, table: pa.Table) -> pa.Table:
        """The columns with plain types. Raises DataError for a column of text with another type."""
        arrays = []
        for column in self._columns:
            array = table.column(column)
            kind = array.type
            if pa.types.is_dictionary(kind):  # pandas' categories
                kind = kind.value_type
            if column in self._texts and not (_is_text(kind) or pa.types.is_null(kind)):
                raise DataError(f"{self._name}: column {column!r} is {kind}, not text; {TEXT_VALUES}")
            if not _fits_parquet(kind):
                raise self._refusal(f"column {column!r}", f"it is {kind}", is_text=False)
            arrays.append(array.cast(pa.string() if _is_text(kind) or pa.types.is_null(kind) else kind))
        return pa.table(arrays, names=self._columns)

    def _same(self, table: pa.Table, schema: pa.Schema) -> pa.Table:
        try:
            return table.cast(schema)
        except pa.ArrowException:
            changed = next(field.name for field, own in zip(schema, table.schema, strict=True) if field.type != own.type)
            raise DataError(
                f"{self._name}: column {changed!r} has values of several types ({schema.field(changed).type} and "
                f"{table.schema.field(changed).type}); convert them to one"
            ) from None


class ColumnError(ValueError):
    """A column whose values do not become an Arrow column; the message says what they are."""

    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column = column


def _fits_parquet(kind: pa.DataType) -> bool:
    """True for types that Parquet keeps as they are; it stores extension types as bytes or numbers of another meaning."""
    if isinstance(kind, pa.BaseExtensionType):
        return False
    try:
        pq.ParquetWriter(pa.BufferOutputStream(), pa.schema([("column", kind)])).close()
    except pa.ArrowException:
        return False
    return True


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _groups(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The rows in tables of :data:`GROUP_ROWS`, the last one shorter, whatever the sizes of those given."""
    held: list[pa.Table] = []
    rows = 0
    for table in tables:
        held.append(table)
        rows += table.num_rows
        while rows >= GROUP_ROWS:
            whole = pa.concat_tables(held)
            yield whole.slice(0, GROUP_ROWS).combine_chunks()
            held, rows = [whole.slice(GROUP_ROWS)], rows - GROUP_ROWS
    if rows:
        yield pa.concat_tables(held).combine_chunks()


class RowSource(NamedTuple):
    """Access to the rows of one kind of object."""

    names: Callable[[Any], list[str]]
    """Names of its columns."""
    tables: Callable[[Any, list[str]], Iterable[pa.Table]]
    """Its rows in their order, with some columns."""


def _source_of(given: Any) -> RowSource | None:
    """Access to an object; None for another type. Libraries that are not imported cannot have made it."""
    for module, name, source in _SOURCES:
        package = sys.modules.get(module)
        if package is not None and isinstance(given, getattr(package, name)):
            return source
    return None


def _frame_tables(frame: Any, columns: list[str]) -> Iterator[pa.Table]:
    yield from _table_slices(pa.table([_frame_column(frame, column) for column in columns], names=columns), columns)


def _frame_column(frame: Any, column: str) -> pa.ChunkedArray:
    """A column of a data frame. Raises ColumnError with the types of its values."""
    try:
        return pa.Table.from_pandas(frame[[column]], preserve_index=False).column(0)
    except _CONVERSION_ERRORS as error:
        kinds = sorted({type(value).__name__ for value in frame[column].dropna()})
        if len(kinds) > 1:
            raise ColumnError(column, f"its values are of the types {', '.join(kinds)}") from None
        reason = str(error.args[0]) if isinstance(error, pa.ArrowException) else str(error)
        raise ColumnError(column, f"its values are of the type {kinds[0]}: {reason}") from None


def _table_slices(table: pa.Table, columns: list[str]) -> Iterator[pa.Table]:
    chosen = table.select(columns)
    yield from (chosen.slice(start, GROUP_ROWS) for start in range(0, chosen.num_rows, GROUP_ROWS))


def _dataset_tables(dataset: Any, columns: list[str]) -> Iterator[pa.Table]:
    yield from dataset.select_columns(columns).with_format("arrow").iter(GROUP_ROWS)


def _ray_tables(dataset: Any, columns: list[str]) -> Iterator[pa.Table]:
    """Stream the blocks in the order of the rows, which Ray Data keeps on request only."""
    chosen = dataset.select_columns(columns)
    options = chosen.context.execution_options
    before, options.preserve_order = options.preserve_order, True
    try:
        yield from chosen.iter_batches(batch_size=GROUP_ROWS, batch_format="pyarrow")
    finally:
        options.preserve_order = before


_SOURCES = (
    ("pyarrow", "Table", RowSource(lambda table: list(table.column_names), _table_slices)),
    ("pandas", "DataFrame", RowSource(lambda frame: [name for name in frame.columns if isinstance(name, str)], _frame_tables)),
    ("datasets", "Dataset", RowSource(lambda dataset: list(dataset.column_names), _dataset_tables)),
    ("ray.data", "Dataset", RowSource(lambda dataset: list(dataset.columns()), _ray_tables)),
)
