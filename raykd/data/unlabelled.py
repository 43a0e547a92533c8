"""Unlabelled rows: files of texts alone or with the columns of the training files, whose labels are then ignored."""

import functools
import logging
from collections.abc import Sequence
from dataclasses import replace

from raykd.config.input_schema import parse_items
from raykd.data.headers import begins_with_names
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.readers import Reader, reader_of
from raykd.data.schema import InputSchema
from raykd.data.sources import expand_data
from raykd.errors import DataError

log = logging.getLogger(__name__)


def unlabelled_spec(labelled: PrepareSpec, files: Sequence[str]) -> PrepareSpec:
    """Specification of unlabelled rows in ``files``, by that of the training rows.

    First lines that hold the names of the columns are headers, also where the training files have none; a warning says so.

    Raises DataError when the files have other columns than the training files or their text columns, or some have a header.
    """
    schema = unlabelled_schema(labelled, files)
    skip_header = labelled.skip_header or (schema is not None and _have_headers(labelled, schema, files))
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
                f"training files ({', '.join(schema.names)}); split at tabs"
            )
        found[cells] = path
    if len(found) > 1:
        first, second = found.values()
        raise DataError(f"{first} and {second} have different columns; give data.unlabelled files of one form")
    if len(schema.names) in found:
        return labelled.input_schema
    return ",".join(item.text for item in parse_items(labelled.input_schema) if item.name in wanted)


def _have_headers(labelled: PrepareSpec, input_schema: str, files: Sequence[str]) -> bool:
    """True when every file begins with the names of the columns. Raises DataError when some do."""
    names = InputSchema.parse(input_schema).names
    found: dict[bool, str] = {}
    for path in expand_data(files):
        reader = reader_of(path, labelled.format)
        found[not reader.names_columns and begins_with_names(path, reader, names)] = path
    if len(found) > 1:
        raise DataError(
            f"{found[True]}:1: the line holds the names of the columns, but {found[False]} begins with a row; give all files "
            "of data.unlabelled a header, or none"
        )
    if True in found:
        _say_header(found[True], ", ".join(names))
    return True in found


@functools.cache
def _say_header(path: str, names: str) -> None:
    log.warning("data.unlabelled: the first line of each file is left out as a header, as in %s: %s", path, names)


def _number_of_cells(path: str, reader: Reader) -> int:
    row = reader.first_row(path)
    try:
        return len(reader.cells(row.decode(errors="replace") if isinstance(row, bytes) else row, ()))
    except DataError as error:
        raise DataError(f"{path}:1: {error}") from None
