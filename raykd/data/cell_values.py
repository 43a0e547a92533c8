"""Texts of cells: those of a text format as they are, values of a typed one in one spelling, whatever the format."""

import math
import re
from collections.abc import Collection
from decimal import Decimal
from typing import Any

from raykd.errors import DataError

MAX_DIGITS = 309
"""Digits of the largest float, and more than any label has; Python converts no text of more than 4,300."""
_INTEGER = re.compile(rf"([+-]?\d{{1,{MAX_DIGITS}}})\.0+")


def text_cell(value: Any, name: str) -> str:
    """The text of a row. Raises DataError for another type, and for characters that are not Unicode text."""
    if not isinstance(value, str):
        raise DataError(f"column {name!r} is {_describe(value)}, not text")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise DataError(
                f"column {name!r} is not Unicode text: {value[error.start]!r} at position {error.start} is a byte that is not "
                "UTF-8, or half of a surrogate pair"
            ) from None
    return value


def label_cell(value: Any, name: str) -> str:
    """The text of a label or number: 1.0 is ``1``, true is ``true``, a list is its items joined by commas.

    Raises DataError for a missing value, a list in a list, an item with a comma, and other types.
    """
    if isinstance(value, list):
        items = [label_cell(item, name) for item in value if not isinstance(item, list)]
        if len(items) < len(value) or any("," in item for item in items):
            raise DataError(f"column {name!r} is {_describe(value)}; a list of labels holds texts without commas, or numbers")
        return ",".join(items)
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float | Decimal) and not math.isnan(value):
        return str(int(value)) if math.isfinite(value) and value == int(value) else str(value)
    raise DataError(f"column {name!r} is {_describe(value)}, not a label")


def integer_text(text: str) -> str:
    """The integer of a text such as ``1.0``, as pandas writes integers of a column with gaps; any other text as it is."""
    found = _INTEGER.fullmatch(text)
    return str(int(found[1])) if found else text


def known_text(text: str, known: Collection[str]) -> str:
    """The name among ``known`` that a cell's text means: itself, else the integer that it is as a float (``1.0``)."""
    return text if text in known else integer_text(text)


def _describe(value: Any) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "missing (null)"
    names = {bool: "a truth value", int: "a whole number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), f"of type {type(value).__name__}")
