"""Places of a configuration: from a location of pydantic's to the key in the file and the types that are allowed there."""

import difflib
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from raykd.config.paths import PathRole

Options: TypeAlias = tuple[Any, ...]
"""Types of which a value has one."""
_WORDS: dict[Any, tuple[str, str, str]] = {
    str: ("text", "texts", "[a, b]"),
    int: ("a whole number", "whole numbers", "[1, 2]"),
    float: ("a number", "numbers", "[0.1, 0.2]"),
    bool: ("true or false", "true or false", "[true, false]"),
    tuple: ("a list", "pairs", "[[0, 1], [2, 3]]"),
}
"""One value of a type, several of them, and a list of them."""
_PATHS = ("a path", "paths", "[a.tsv, b.tsv]")
_BOUNDS = {"ge": "of at least", "gt": "above", "le": "of at most", "lt": "below"}


@dataclass(frozen=True)
class KeyLocation:
    """A value in the file."""

    keys: tuple[str, ...]
    """Path of keys and list positions."""
    fields: tuple[str, ...]
    """Keys of the section that stands there; none where it is no section."""
    union: Options | None
    """Types that are allowed there, where the location names one of several that do not have a kind."""


def locate_key(location: Sequence[str | int], root: type[BaseModel], *, unknown: bool = False) -> KeyLocation:
    """The place of an error. Names of types and kinds, which pydantic adds to a location, are no keys.

    ``unknown``: the last part is a key that the section does not have.
    """
    known = len(location) - unknown
    keys: list[str] = []
    options: Options = (root,)
    union: Options | None = None
    for part in location[:known]:
        options, is_key, is_kind = _step(options, part)
        keys += [str(part)] if is_key else []
        union = None if is_key or is_kind else options
    fields = tuple(key for model in _models(options) for key in _keys(model))
    return KeyLocation((*keys, *map(str, location[known:])), fields, union)


def nearest_key(location: Sequence[str | int], root: type[BaseModel]) -> str:
    """The known key that is nearest to an unknown one, or the kinds of the section that have it."""
    key = str(location[-1])
    kinds = [_kind(model) for model in _models_at(location[:-1], root, every_kind=True) if key in _keys(model)]
    if kinds and all(kinds):
        return f"; it belongs to kind: {', '.join(map(str, kinds))}"
    known = sorted({known for model in _models_at(location[:-1], root) for known in _keys(model)})
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known keys there: {', '.join(known)}"


def allowed_text(options: Options, value: Any) -> str:
    """The allowed types in words, with ``value`` in the example of a list where it could stand in one."""
    members = [member for option in options for member in _options(option)]
    bare = [_bare(member) for member in members]
    kept = [member for member, of in zip(members, bare, strict=True) if not (of is int and float in bare)]
    *others, last = dict.fromkeys(_type_text(member, value) for member in kept)
    return f"{', '.join(others)}, or {last}" if others else last


def _type_text(option: Any, value: Any) -> str:
    bare = _bare(option)
    if get_origin(bare) is Literal:
        return " or ".join(map(repr, get_args(bare)))
    if get_origin(bare) is tuple:
        items = [item for item in get_args(bare) if item is not Ellipsis]
        _, several, example = _words(items[0])
        if isinstance(value, str) and _bare(items[0]) is str:
            example = f"[{value}]"
        number = "two " if len(items) == 2 else ""
        return f"a list of {number}{several}, as in {example}"
    if get_origin(bare) is dict or (isinstance(bare, type) and issubclass(bare, BaseModel)):
        return "a section"
    limits = [f"{words} {limit:g}" for name, words in _BOUNDS.items() if (limit := _bound(option, name)) is not None]
    return " ".join([_words(option)[0], " and ".join(limits)]).strip()


def _words(option: Any) -> tuple[str, str, str]:
    bare = _bare(option)
    return _PATHS if any(isinstance(mark, PathRole) for mark in _marks(option)) else _WORDS[get_origin(bare) or bare]


def _bound(option: Any, name: str) -> Any:
    """A bound such as ``ge`` in the marks of a type."""
    marks = [inner for mark in _marks(option) for inner in (mark.metadata if isinstance(mark, FieldInfo) else [mark])]
    return next((getattr(mark, name) for mark in marks if hasattr(mark, name)), None)


def _bare(annotation: Any) -> Any:
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _marks(annotation: Any) -> tuple[Any, ...]:
    return get_args(annotation)[1:] if get_origin(annotation) is Annotated else ()


def _options(annotation: Any) -> Iterator[Any]:
    """The members of a union but None; of another type the type itself."""
    bare = _bare(annotation)
    if get_origin(bare) in (Union, types.UnionType):
        for inner in get_args(bare):
            yield from _options(inner)
    elif bare is not type(None):
        yield annotation


def _inside(option: Any, part: str | int) -> Iterator[Any]:
    """Allowed types of the value at a key or position; none where the type has no such part."""
    bare, arguments = _bare(option), get_args(_bare(option))
    if isinstance(bare, type) and issubclass(bare, BaseModel):
        field = next((one for name, one in bare.model_fields.items() if part in (name, one.alias)), None)
        yield from () if field is None else _options(field.annotation)
    elif get_origin(bare) is dict:
        yield from _options(arguments[1])
    elif get_origin(bare) is tuple and isinstance(part, int):
        yield from _options(arguments[0] if Ellipsis in arguments else arguments[min(part, len(arguments) - 1)])


def _models_at(location: Sequence[str | int], root: type[BaseModel], *, every_kind: bool = False) -> list[type[BaseModel]]:
    """The sections that a location may be; of several kinds the one whose tag stands in it, or ``every_kind``."""
    options: Options = (root,)
    for part in location:
        narrowed, _, is_kind = _step(options, part)
        options = options if is_kind and every_kind else narrowed
    return list(_models(options))


def _step(options: Options, part: str | int) -> tuple[Options, bool, bool]:
    """Allowed types after a part of a location, and whether it is a key or position, or the kind of a section."""
    if part == "[key]":  # the key itself is refused, not its value
        return options, False, True
    kind = tuple(model for model in _models(options) if len(options) > 1 and _kind(model) == part)
    if kind:
        return kind, False, True
    inside = tuple(inner for option in options for inner in _inside(option, part))
    return inside or options, bool(inside), False


def _models(options: Options) -> Iterator[type[BaseModel]]:
    return (option for option in options if isinstance(option, type) and issubclass(option, BaseModel))


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return None if field is None else field.default


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
