"""The notation of ``input_schema``: ``name:type:length`` joined by commas, with spaces around the items allowed."""

from typing import Literal, NamedTuple, cast, get_args

ColumnType = Literal["str", "int", "float"]
_MAX_DIGITS = 18
"""Most digits of a length; Python reads no number of more than 4,300."""


class SchemaItem(NamedTuple):
    """One column."""

    name: str
    type: ColumnType
    length: int
    text: str
    """The item as it is written, without spaces around it."""


def parse_items(schema: str) -> tuple[SchemaItem, ...]:
    """The columns in file order. Raises ValueError for an item of another form, and a repeated name."""
    items = tuple(_parse_item(item.strip(), schema) for item in schema.split(","))
    names = [item.name for item in items]
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"input_schema {schema!r} names column {name!r} twice; give each column its own name")
    return items


def _parse_item(item: str, schema: str) -> SchemaItem:
    name, *rest = item.split(":")
    if len(rest) != 2 or not name or rest[0] not in get_args(ColumnType) or not _is_length(rest[1]):
        raise ValueError(
            f"input_schema {schema!r}: {item!r} is not of the form name:type:length with type str, int or float (sent:str:1)"
        )
    return SchemaItem(name, cast(ColumnType, rest[0]), int(rest[1]), item)


def _is_length(text: str) -> bool:
    return text.isdecimal() and len(text) <= _MAX_DIGITS
