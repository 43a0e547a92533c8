"""Files of a teacher's answers, row by row: JSONL (plain or .gz), Parquet, and TSV for answers that fit into a cell."""

import gzip
import io
import itertools
import json
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import pyarrow.parquet as pq

from raykd.data import storage
from raykd.data.answer_values import show
from raykd.data.logits_parquet import COLUMN, open_parquet
from raykd.data.parquet_files import GROUP_ROWS
from raykd.data.readers import read_chunk, scan
from raykd.errors import DataError


class Answer(NamedTuple):
    """One row of a file of answers."""

    where: str
    """File and row, as errors name them."""
    key: str | None
    """Name of the row; None without a key column."""
    value: Any
    """The answer: a list, or a mapping from label to number."""


def read_answers(path: str, *, column: int | str, key: str | None, votes: bool) -> Iterator[Answer]:
    """Stream the answers of a file, chosen by its name; ``votes`` reads a TSV's cell as labels, otherwise as numbers.

    Raises DataError with file and row: no such column, a line that is no JSON, a name of a row that is neither text nor number.
    """
    name = path.removesuffix(".gz")
    if name.endswith(".jsonl"):
        return _read_jsonl(path, column if isinstance(column, str) else None, key)
    if name.endswith(".parquet"):
        return _read_parquet(path, column if isinstance(column, str) else COLUMN, key)
    if isinstance(column, str):
        raise DataError(f"logits.column = {column!r}: columns of a TSV are counted from 0; give a number")
    return _read_tsv(path, column, votes)


def _read_jsonl(path: str, column: str | None, key: str | None) -> Iterator[Answer]:
    for number, line in enumerate(_lines(path), start=1):
        where = f"{path}:{number}"
        try:
            content = json.loads(line, object_pairs_hook=_without_repeated_keys)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where}: not JSON ({error}); each line is one JSON value") from None
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        if not isinstance(content, dict) and (column is not None or key is not None):
            raise DataError(f"{where}: {show(content)} is no object with the key {column if key is None else key!r}")
        named = None if key is None else _key(_member(content, key, where), where)
        if column is not None:
            yield Answer(where, named, _member(content, column, where))
        elif key is not None:
            yield Answer(where, named, {name: value for name, value in content.items() if name != key})
        else:
            yield Answer(where, None, content)


def _read_parquet(path: str, column: str, key: str | None) -> Iterator[Answer]:
    file: pq.ParquetFile = open_parquet(path)
    names = file.schema_arrow.names
    for name in filter(None, (column, key)):
        if name not in names:
            raise DataError(f"{path} has no column {name!r}, but {', '.join(names)}; set logits.column and logits.key to them")
    wanted = [column] if key is None else [column, key]
    numbers = itertools.count()
    for batch in file.iter_batches(GROUP_ROWS, columns=wanted):
        for row in batch.to_pylist(maps_as_pydicts="strict"):
            where = f"{path}, row {next(numbers)} (from 0)"
            yield Answer(where, None if key is None else _key(row[key], where), row[column])


def _read_tsv(path: str, column: int, votes: bool) -> Iterator[Answer]:
    for row in itertools.chain.from_iterable(map(read_chunk, scan([path], skip_header=False))):
        where = f"{path}:{row.line}"
        cells = row.data.decode(errors="backslashreplace").split("\t")
        if len(cells) <= column:
            raise DataError(f"{where}: there is no column {column}; columns count from 0, and this line has {len(cells)}")
        items = [item.strip() for item in cells[column].split(",")] if cells[column].strip() else []
        try:
            yield Answer(where, None, items if votes else list(map(float, items)))
        except ValueError:
            raise DataError(f"{where}: {show(cells[column])} is not numbers joined by commas") from None


def _lines(path: str) -> Iterator[bytes]:
    with storage.open_input(path) as stored:
        packed = path.endswith(".gz")
        stream = gzip.GzipFile(fileobj=stored, mode="rb") if packed else stored
        try:
            yield from io.BufferedReader(stream)
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataError(f"{path} is not a whole gzip file ({error}); compress or copy it again") from None


def _without_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise DataError(f"the key {twice!r} stands twice in an object")
    return content


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
