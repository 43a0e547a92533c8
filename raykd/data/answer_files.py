"""Files of a teacher's answers, row by row: formats with named columns, and TSV for answers that fit into a cell."""

import io
import itertools
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from raykd.data.answer_values import show
from raykd.data.logits_parquet import COLUMN
from raykd.data.readers import FileFormat, Reader, read_chunk, reader_of, scan
from raykd.data.readers.compression import open_rows
from raykd.data.readers.csv import CsvReader
from raykd.data.readers.json_lines import JsonLinesReader, unique_keys
from raykd.errors import DataError

_NAMED = FileFormat(None, named=True)


class Answer(NamedTuple):
    """One row of a file of answers."""

    where: str
    """File and row, as errors name them."""
    key: str | None
    """Name of the row; None without a key column."""
    value: Any
    """The answer: a list, or a mapping from label to number."""


def read_answers(path: str, *, column: int | str, key: str | None, votes: bool) -> Iterator[Answer]:
    """Stream the answers of a file, whose format follows from its name. Cells of CSV and TSV hold JSON, or items joined by
    commas: labels where ``votes`` is set, otherwise numbers.

    Raises DataError with file and row: no such column, a line that is no JSON, a name of a row that is neither text nor number.
    """
    reader, named = reader_of(path, _NAMED), column if isinstance(column, str) else None
    if isinstance(reader, JsonLinesReader):
        return _read_jsonl(path, named, key)
    if reader.names_columns:
        return _read_columns(path, reader, COLUMN if named is None else named, key, votes)
    if isinstance(column, str):
        raise DataError(f"logits.column = {column!r}: columns of a TSV are counted from 0; give a number")
    return _read_tsv(path, column, votes)


def _read_jsonl(path: str, column: str | None, key: str | None) -> Iterator[Answer]:
    with open_rows(path) as stream:
        blank: list[tuple[int, bytes]] = []
        for number, line in enumerate(io.BufferedReader(stream), start=1):
            blank.append((number, line))
            if line.strip():  # blank lines at the end of the file are no answers
                for one, content in blank:
                    yield _json_answer(content, f"{path}:{one}", column, key)
                blank.clear()


def _json_answer(line: bytes, where: str, column: str | None, key: str | None) -> Answer:
    try:
        content = json.loads(line, object_pairs_hook=unique_keys)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: not JSON ({error}); each line is one JSON value") from None
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    if not isinstance(content, dict) and (column is not None or key is not None):
        raise DataError(f"{where}: {show(content)} is no object with the key {column if key is None else key!r}")
    named = None if key is None else _key(_member(content, key, where), where)
    if column is not None:
        return Answer(where, named, _member(content, column, where))
    if key is not None:
        return Answer(where, named, {name: value for name, value in content.items() if name != key})
    return Answer(where, None, content)


def _read_columns(path: str, reader: Reader, column: str, key: str | None, votes: bool) -> Iterator[Answer]:
    names, has_lines = [column] if key is None else [column, key], isinstance(reader, CsvReader)
    reader.check(path, names)
    for chunk in scan([path], skip_header=False, files=_NAMED):
        for row in reader.read(chunk, names):
            where = f"{path}:{row.line}" if has_lines else f"{path}, row {row.row} (from 0)"
            try:
                value, *keys = reader.cells(row.data, names)
            except DataError as error:
                raise DataError(f"{where}: {error}") from None
            named = _key(keys[0], where) if keys else None
            yield Answer(where, named, _of_text(value, where, votes) if has_lines else value)


def _read_tsv(path: str, column: int, votes: bool) -> Iterator[Answer]:
    for row in itertools.chain.from_iterable(map(read_chunk, scan([path], skip_header=False))):
        where = f"{path}:{row.line}"
        cells = row.data.decode(errors="backslashreplace").split("\t")
        if len(cells) <= column:
            raise DataError(f"{where}: there is no column {column}; columns count from 0, and this line has {len(cells)}")
        yield Answer(where, None, _of_text(cells[column], where, votes))


def _of_text(cell: str, where: str, votes: bool) -> Any:
    """The answer in a cell. Raises DataError when it is neither JSON nor items joined by commas."""
    try:
        if cell.lstrip().startswith(("{", "[")):
            return json.loads(cell, object_pairs_hook=unique_keys)
        items = [item.strip() for item in cell.split(",")] if cell.strip() else []
        return items if votes else list(map(float, items))
    except (ValueError, RecursionError):
        raise DataError(f"{where}: {show(cell)} is not numbers joined by commas") from None
    except DataError as error:
        raise DataError(f"{where}: {error}") from None


def _member(content: dict[str, Any], name: str, where: str) -> Any:
    if name not in content:
        raise DataError(f"{where}: no key {name!r}, but {', '.join(map(repr, content)) or 'none'}")
    return content[name]


def _key(value: Any, where: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(f"{where}: {show(value)} does not name a row; give text or a number")
    return key_text(value)


def key_text(value: str | int | float) -> str:
    """The text that names of rows are compared by: ``7``, ``7.0`` and ``"7"`` are the same."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
