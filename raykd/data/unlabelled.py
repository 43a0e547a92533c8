"""Unlabelled rows: files of texts alone or with the columns of the training files, whose labels are then ignored."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace

from raykd.config.input_schema import parse_items
from raykd.data.headers import header_cells
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.readers import Reader, reader_of
from raykd.data.schema import InputSchema
from raykd.data.sources import expand_data
from raykd.errors import DataError

log = logging.getLogger(__name__)


def unlabelled_spec(labelled: PrepareSpec, files: Sequence[str]) -> PrepareSpec:
    """Specification of unlabelled rows in ``files``, by that of the training rows.

    First lines that hold the names of the columns are headers, whatever the training files have, and others are rows; a warning
    says so where the training files are different.

    Raises DataError when the files have other columns than the training files or their text columns, or some have a header.
    """
    schema = unlabelled_schema(labelled, files)
    skip_header = labelled.skip_header if schema is None else _have_headers(labelled, schema, files)
    return replace(
        labelled,
        files=tuple(files),
        input_schema=schema,
        label=None,
        codec=None,
        keep=None,
        skip_header=skip_header,
    )


def unlabelled_schema(labelled: PrepareSpec, files: Sequence[str]) -> str | None:
    """Columns of the files, by the number of cells in their first lines: the training schema, or its text columns in order.

    None finds the text columns by name, as the training files' columns are found.

    Raises DataError naming the file whose first line has another number of cells, or other columns than the first file.
    """
    if labelled.input_schema is None:
        return None
    schema = InputSchema.parse(labelled.input_schema)
    wanted = {labelled.first_sequence, labelled.second_sequence}
    texts = [column.name for column in schema.columns if column.name in wanted]
    found: dict[int, str] = {}
    for path in expand_data(files):
        reader = reader_of(path, labelled.format)
        cells = len(texts) if reader.names_columns else _number_of_cells(path, reader)
        if cells not in (len(texts), len(schema.names)):
            raise DataError(
                f"{path}:1: {cells} columns, but data.unlabelled needs {len(texts)} ({', '.join(texts)}) or those of the "
                f"training files ({', '.join(schema.names)}); split at {reader.separator}"
            )
        found[cells] = path
    if len(found) > 1:
        first, second = found.values()
        raise DataError(f"{first} and {second} have different columns; give data.unlabelled files of one form")
    if len(schema.names) in found:
        return labelled.input_schema
    return ",".join(item.text for item in parse_items(labelled.input_schema) if item.name in wanted)


def _have_headers(labelled: PrepareSpec, input_schema: str, files: Sequence[str]) -> bool:
    """True when every file begins with a header: the names of the columns, or what the training files begin with.

    Raises DataError when some do. Says so where the training files are different.
    """
    names = InputSchema.parse(input_schema).names
    headers = [header for header in (list(names), _training_header(labelled, names)) if header]
    found: dict[bool, str] = {}
    for path in expand_data(files):
        reader = reader_of(path, labelled.format)
        if reader.may_have_header and not reader.names_columns:
            found[header_cells(path, reader) in headers] = path
    if len(found) > 1:
        raise DataError(
            f"{found[True]}:1: the line holds the names of the columns, but {found[False]} begins with a row; give all files "
            "of data.unlabelled a header, or none"
        )
    for has_header, path in found.items():
        if has_header != labelled.skip_header:
            _say_header(path, ", ".join(names), has_header=has_header)
    return True in found


def _training_header(labelled: PrepareSpec, names: Sequence[str]) -> list[str]:
    """The cells above the columns ``names`` in the first training file with a header, whose names may be others; else none."""
    if not labelled.skip_header or labelled.input_schema is None:
        return []
    schema = InputSchema.parse(labelled.input_schema)
    for path in expand_data(labelled.files):
        reader = reader_of(path, labelled.format)
        if reader.may_have_header and not reader.names_columns:
            cells = header_cells(path, reader)
            return [cells[schema.position(name)] for name in names] if len(cells) == len(schema.names) else []
    return []


@functools.cache
def _say_header(path: str, names: str, *, has_header: bool) -> None:
    if has_header:
        log.warning("data.unlabelled: the first line of each file is left out as a header, as in %s: %s", path, names)
    else:
        log.warning(
            "data.unlabelled: the first line of each file is a row, as in %s: it does not hold the names of the columns (%s)",
            path,
            names,
        )


def _number_of_cells(path: str, reader: Reader) -> int:
    row = reader.first_row(path)
    try:
        return len(reader.cells(row.decode(errors="replace") if isinstance(row, bytes) else row, ()))
    except DataError as error:
        raise DataError(f"{path}:1: {error}") from None
