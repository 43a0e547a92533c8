"""JSON Lines: one object per line; columns are keys, and ``a.b`` is key ``b`` of the object under ``a``."""

import json
from collections.abc import Iterator, Sequence
from typing import Any

from raykd.config.file_formats import SUFFIXES
from raykd.data.readers.reader import Range, missing_column
from raykd.data.readers.tsv import TsvReader
from raykd.errors import DataError


class JsonLinesReader(TsvReader):
    """Reads objects; values keep their types."""

    suffixes = SUFFIXES["jsonl"]
    may_have_header = False

    @property
    def names_columns(self) -> bool:
        """Always."""
        return True

    def ranges(self, path: str, *, skip_header: bool, chunk_bytes: int) -> Iterator[Range]:
        """Ranges of ``chunk_bytes``; there is no header."""
        del skip_header
        return super().ranges(path, skip_header=False, chunk_bytes=chunk_bytes)

    def cells(self, data: str, names: Sequence[str]) -> list[Any]:
        """The values of the keys. Raises DataError for a line that is no object, and a key that is missing or repeated."""
        if not data:
            raise DataError("the line is blank")
        try:
            row = json.loads(data, object_pairs_hook=unique_keys)
        except (ValueError, RecursionError) as error:
            raise DataError(f"not a JSON object ({error})") from None
        if not isinstance(row, dict):
            raise DataError(f"a JSON {type(row).__name__} where an object with keys is needed")
        return [_value(row, name) for name in names]


def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object of some keys and values, for ``json.loads``. Raises DataError for a key that stands twice."""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        raise DataError(f"key {next(key for key in keys if keys.count(key) > 1)!r} stands twice in an object; remove one")
    return found


def _value(row: dict[str, Any], name: str) -> Any:
    """The value of a key, whole or as a path. Raises DataError with the nearest key."""
    if name in row:
        return row[name]
    value: Any = row
    for key in name.split("."):
        if value is None:
            return None
        if not isinstance(value, dict) or key not in value:
            raise DataError(missing_column(name, list(row)))
        value = value[key]
    return value
