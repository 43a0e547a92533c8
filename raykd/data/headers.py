"""Checks of header lines that are skipped: a first line that is a row would be lost, reordered columns would be swapped."""

from collections.abc import Iterable

from raykd.data.examples import RowParser
from raykd.data.readers import Reader, reader_of
from raykd.data.schema import InputSchema
from raykd.errors import DataError


def check_headers(paths: Iterable[str], schema: InputSchema, parser: RowParser) -> None:
    """Raise DataError for a first line that is a labelled row, names columns in another order, or holds the whole file."""
    for path in paths:
        reader = reader_of(path)
        line = reader.first_line(path)
        if b"\r" in line:
            raise DataError(
                f"{path}:1: the header holds carriage returns, which do not end lines here; end lines with line feeds"
            )
        if parser.is_labelled_row(line, reader):
            raise DataError(
                f"{path}:1: data.skip_header = true, but the first line is a row with a label; set data.skip_header to false"
            )
        _check_order(path, _header_cells(line, reader), schema.names)


def _header_cells(line: bytes, reader: Reader) -> list[str]:
    """Cells of a header; none of a blank line."""
    try:
        return reader.cells(line.decode("utf-8", errors="replace"), ())
    except DataError:
        return []


def _check_order(path: str, cells: list[str], names: tuple[str, ...]) -> None:
    for position, name in enumerate(names):
        if name in cells and cells[position : position + 1] != [name]:
            raise DataError(
                f"{path}:1: {name!r} is column {cells.index(name) + 1} of the header, but column {position + 1} of "
                f"data.input_schema; list the columns in the file's order ({', '.join(cells)})"
            )
