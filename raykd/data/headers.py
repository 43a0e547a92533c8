"""Checks of data files before their rows are read: formats, columns, and header lines that are skipped.

A first line that is a row would be lost, reordered columns would be swapped, and the name of a single column would be a text.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from raykd.data.examples import RowParser
from raykd.data.readers import TSV, FileFormat, Reader, reader_of
from raykd.data.schema import InputSchema
from raykd.errors import ConfigError, DataError


def check_files(
    paths: Iterable[str], schema: InputSchema, parser: RowParser, files: FileFormat = TSV, *, skip_header: bool
) -> None:
    """Check the format, the columns and the header of every file; ``skip_header`` is ignored for formats without header lines.

    Raises ConfigError for settings that do not fit a file's format; DataError for one that does not open or lacks a column.
    """
    for path in paths:
        reader = reader_of(path, files)
        if schema.named and not reader.names_columns:
            raise ConfigError(
                f"{path} does not name its columns: give data.input_schema (text:str:1,label:str:1), or data.format for a file "
                "that is not TSV"
            )
        if reader.names_columns:
            reader.check(path, schema.names)
        elif skip_header:
            _check_header(path, reader, schema, parser)
        elif schema.strict and len(schema.names) == 1 and header_cells(path, reader) == list(schema.names):
            raise DataError(
                f"{path}:1: the line holds the name of the column; set data.skip_header for a header at the start of each file"
            )


def check_skip_header(paths: Sequence[str], files: FileFormat, *, skip_header: bool) -> None:
    """Raise ConfigError when ``skip_header`` is set and none of a job's files can have a header line."""
    if skip_header and paths and not any(reader_of(path, files).may_have_header for path in paths):
        raise ConfigError(f"data.skip_header = true, but files such as {paths[0]} have no header line; leave it out")


def header_cells(path: str, reader: Reader) -> list[str]:
    """Cells of a file's first row; none of a malformed one, which is named when it is read."""
    try:
        return _header_cells(reader.first_row(path), reader)
    except DataError:
        return []


def _check_header(path: str, reader: Reader, schema: InputSchema, parser: RowParser) -> None:
    row = reader.first_row(path)
    if isinstance(row, bytes) and b"\r" in row:
        raise DataError(f"{path}:1: the header holds carriage returns, which do not end lines here; end lines with line feeds")
    if parser.is_labelled_row(row, reader):
        raise DataError(
            f"{path}:1: data.skip_header = true, but the first line is a row with a label; set data.skip_header to false"
        )
    _check_order(path, _header_cells(row, reader), schema.names)


def _header_cells(row: Any, reader: Reader) -> list[str]:
    """Cells of a header; none of a blank line."""
    try:
        return reader.cells(row.decode("utf-8", errors="replace") if isinstance(row, bytes) else row, ())
    except DataError:
        return []


def _check_order(path: str, cells: list[str], names: tuple[str, ...]) -> None:
    for position, name in enumerate(names):
        if name in cells and cells[position : position + 1] != [name]:
            raise DataError(
                f"{path}:1: {name!r} is column {cells.index(name) + 1} of the header, but column {position + 1} of "
                f"data.input_schema; list the columns in the file's order ({', '.join(cells)})"
            )
