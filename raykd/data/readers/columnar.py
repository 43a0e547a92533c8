"""Rows of Arrow record batches: the common part of Parquet and Arrow files."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from raykd.data.readers.reader import RawRow, Reader, column_position, missing_column
from raykd.errors import DataError, shorten

_CONVERSION_ERRORS = (ValueError, KeyError, OverflowError, pa.ArrowException)
"""Of a value that Arrow holds and Python does not: bytes in a text, a repeated key of a map, a date after the year 9999."""


class ColumnarReader(Reader):
    """Base of formats that store typed columns under names."""

    compressible = False
    may_have_header = False

    @property
    def names_columns(self) -> bool:
        """Always."""
        return True

    def cells(self, data: Any, names: Sequence[str]) -> list[Any]:
        """The values that were read. Raises DataError for a row with a value that Python cannot hold."""
        del names
        if isinstance(data, DataError):
            raise data
        return list(data)

    def first_row(self, path: str) -> list[Any]:
        """No header."""
        del path
        return []


def schema_text(schema: pa.Schema) -> bytes:
    """Names and types of the columns, which digests begin with: they decide what the stored bytes mean."""
    text: str = schema.remove_metadata().to_string()
    return text.encode()


def check_names(path: str, schema: pa.Schema, names: Sequence[str]) -> None:
    """Raise DataError when a file has no column of some name, or several."""
    for name in names:
        if name.partition(".")[0] not in schema.names or name in schema.names:
            column_position(path, name, schema.names)
            continue
        first, *keys = name.split(".")
        kind = schema.field(column_position(path, first, schema.names)).type
        for key in keys:
            if not pa.types.is_struct(kind) or kind.get_field_index(key) < 0:
                inside = [field.name for field in kind] if pa.types.is_struct(kind) else []
                raise DataError(f"{path}: {missing_column(name, [f'{first}.{one}' for one in inside] or schema.names)}")
            kind = kind.field(key).type


def rows_of(batches: Iterable[pa.RecordBatch], names: Sequence[str], first_row: int) -> Iterator[RawRow]:
    """The rows of batches, numbered from ``first_row``, with the values of ``names``, which :func:`check_names` accepted.

    The content of a row with a value that Python cannot hold is a DataError.
    """
    for batch in batches:
        columns = [_column(batch, name) for name in names]
        for number, data in enumerate(_contents(columns, names), first_row):
            yield RawRow(number, number + 1, data)
        first_row += batch.num_rows


def _contents(columns: Sequence[pa.Array], names: Sequence[str]) -> Iterator[tuple[Any, ...] | DataError]:
    """The values of each row; row by row where one of the columns does not convert as a whole."""
    try:
        return zip(*(column.to_pylist(maps_as_pydicts="strict") for column in columns), strict=True)
    except _CONVERSION_ERRORS:
        return (_row(values, names) for values in zip(*columns, strict=True))


def _row(values: Sequence[pa.Scalar], names: Sequence[str]) -> tuple[Any, ...] | DataError:
    converted = []
    for value, name in zip(values, names, strict=True):
        try:
            converted.append(value.as_py(maps_as_pydicts="strict"))
        except _CONVERSION_ERRORS as error:
            return DataError(f"column {name!r} {_reason(error)}")
    return tuple(converted)


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        found = f"byte {error.object[error.start]:#04x} at position {error.start}"
        return f"is not UTF-8 text: {error.reason} ({found}); write it as UTF-8"
    if isinstance(error, KeyError):
        return "is a map in which a key stands twice; give each key once"
    return f"has a value that Python does not hold ({shorten(str(error))}); write it as text"


def _column(batch: pa.RecordBatch, name: str) -> pa.Array:
    if name in batch.schema.names:
        return batch.column(name)
    first, *keys = name.split(".")
    return pc.struct_field(batch.column(first), keys)
