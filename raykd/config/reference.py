"""``python -m raykd.config.reference`` prints docs/configuration.md from the configuration's own docstrings."""

import sys
import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from raykd.config.experiment import ExperimentConfig

INTRODUCTION = """# Configuration

What a job file for `raykd run` may hold. Unknown keys are refused, with the nearest known one; any value can be replaced on the
command line with `--set a.b=c`. Where a section has a `kind`, the kind decides which other keys it has.

This page is made by `python -m raykd.config.reference`; a test keeps it current.
"""


def document() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(_section("the job file", ExperimentConfig, seen=set()))


def _section(title: str, model: type[BaseModel], seen: set[type[BaseModel]]) -> Iterator[str]:
    """A table for one model, then those of the models it holds, each once."""
    if model in seen:
        return
    seen.add(model)
    yield f"\n## `{title}`\n\n{' '.join((model.__doc__ or '').split())}\n\n"
    yield "| key | value | default | meaning |\n|---|---|---|---|\n"
    for name, field in model.model_fields.items():
        yield f"| `{name}` | {_type(field)} | {_default(field)} | {' '.join((field.description or '').split())} |\n"
    for name, field in model.model_fields.items():
        inner = list(_models(field.annotation))
        path = name if title == "the job file" else f"{title}.{name}"
        for one in inner:
            kind = one.model_fields.get("kind")
            yield from _section(path if len(inner) == 1 or kind is None else f"{path} (kind: {kind.default})", one, seen)


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for inner in get_args(annotation):
        yield from _models(inner)


def _type(field: FieldInfo) -> str:
    bounds = [_bound(item) for item in field.metadata]
    return " ".join([_name(field.annotation), *filter(None, bounds)]).replace("|", "\\|")


def _bound(item: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return ", ".join(f"{sign} {getattr(item, name):g}" for name, sign in signs.items() if hasattr(item, name))


def _name(annotation: Any) -> str:
    origin = get_origin(annotation)
    if origin is Literal:
        return " or ".join(f"`{value}`" for value in get_args(annotation))
    if origin in (Union, types.UnionType):
        return " or ".join(dict.fromkeys(_name(inner) for inner in get_args(annotation)))
    if origin is Annotated:
        return _name(get_args(annotation)[0])
    if origin is tuple:
        first, *others = get_args(annotation)
        return f"list of {_name(first)}" if Ellipsis in others else f"list of {1 + len(others)} {_name(first)}s"
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return "section"
    plain = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "null"}
    return plain.get(annotation, str(annotation))


def _default(field: FieldInfo) -> str:
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        kind = getattr(field.default, "kind", None)
        return f"kind: {kind}" if kind else "below"
    if field.default is None:
        return "null"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


if __name__ == "__main__":
    sys.stdout.write(document())
