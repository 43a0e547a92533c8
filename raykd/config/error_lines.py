"""Sentences for what pydantic refuses: the key as it stands in the file, the value, and what is allowed there."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from raykd.config.locations import KeyLocation, allowed_text, locate_key, nearest_key
from raykd.config.section import InvalidPartsError

_NEEDED = {
    "string_type": "text is needed here; put it in quotes",
    "int_parsing": "a whole number is needed here, written with digits alone",
    "dict_type": "a section is needed here, as in {key: value}; {} has no keys",
    "tuple_type": "a list is needed here, as in [a, b]",
    "too_short": "list at least one value",
    "model_type": "a section is needed here, with keys of its own",
    "model_attributes_type": "a section is needed here, with keys of its own",
}
"""Advice for a value of a wrong type, by pydantic's name for the error."""
_FOLLOWS = "default_factory_not_called"
"""Error of a value left out whose default needs other values, one of which has an error of its own."""


def error_lines(error: ValidationError, root: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """One line per key; ``prefix`` is the key of ``root``, with a dot, where that is a part of the configuration."""
    items = [item for item in error.errors(include_url=False) if item["type"] != _FOLLOWS]
    found = [(item, locate_key(item["loc"], root, unknown=item["type"] == "extra_forbidden")) for item in items]
    for item, location in found:
        inner = item.get("ctx", {}).get("error")
        if isinstance(inner, InvalidPartsError):
            for key, model, errors in inner.parts:
                yield from error_lines(errors, model, f"{key}.")
        elif not _repeats_another(item, location, found):
            yield _describe(item, location, root, prefix)


def _repeats_another(item: Any, location: KeyLocation, found: Sequence[tuple[Any, KeyLocation]]) -> bool:
    """True where another error is the reason: one inside the value, or a check that the value reached in a union."""
    if location.union is None and item["type"] != "too_short":
        return False
    return any(
        other.keys[: len(location.keys)] == location.keys
        and (len(other.keys) > len(location.keys) or _is_check(one) > _is_check(item))
        for one, other in found
    )


def _is_check(item: Any) -> bool:
    return bool(item["type"] == "value_error")


def _describe(item: Any, location: KeyLocation, root: type[BaseModel], prefix: str) -> str:
    path, kind = f"{prefix}{'.'.join(location.keys)}".removesuffix("."), item["type"]
    if kind == "extra_forbidden":
        return f"unknown key {path}{nearest_key(item['loc'], root)}"
    message: str = item["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return _with_path(message, path, location.fields)
    if kind in ("missing", "union_tag_not_found"):
        return f"{path if kind == 'missing' else f'{path}.kind'} is missing"
    if kind == "union_tag_invalid":
        return f"{path}.kind = {_given_kind(item)!r}: use one of {item['ctx']['expected_tags']}"
    if location.union is not None:
        return f"{path} = {_shown(item['input'])}: give {allowed_text(location.union, item['input'])}"
    return f"{path} = {_shown(item['input'])}: {_NEEDED.get(kind, f'{message[0].lower()}{message[1:]}')}"


def _with_path(message: str, path: str, fields: Sequence[str]) -> str:
    """A section's own message, which may begin with one of its keys, with the section's path where it does not name it."""
    first = re.match(r"(\w+)[ :]", message)
    if path and first and first[1] in fields:
        return f"{path}.{message}"
    named = not path or re.search(rf"(?<![\w.]){re.escape(path)}(?!\w)", message)
    return message if named else f"{path}: {message}"


def _given_kind(item: Any) -> Any:
    given = item["input"]
    return given.get("kind") if isinstance(given, Mapping) else item["ctx"]["tag"]


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except ValueError:  # Python writes none of that length
        return "a number of more than 4,300 digits"
