"""Configuration page and schemas: ``python -m raykd.config.reference`` writes docs/configuration.md and docs/schema/*.json."""

import re
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from raykd.config.json_schema import JOB_KINDS, SET, schema_text
from raykd.config.section import PartOf
from raykd.config.student import VariantConfig

INTRODUCTION = """# Configuration

Keys of the three kinds of job files: distillation (`raykd run`), cross-domain distillation (`raykd run` with `kind: meta_kd`)
and search (`raykd tune` with `kind: tune`). Unknown keys are refused, with the nearest known one. `--set a.b=c` replaces any
value on the command line. Where a section has a `kind`, the kind decides which other keys it has; a section
whose default has a kind keeps that kind unless another is given. `null` is YAML's empty value.

Job files and values of `--set` are YAML 1.2: `true` and `false` are booleans (a switch also takes `yes`, `no`, `on` and `off`),
`010` is ten, and text keeps its spelling (`labels: [no, 010, 1.10]`). A key that stands twice in a section is an error. Of two
`--set` for one value the last counts, with a warning. `~` in a path is the home folder; environment variables are not replaced.

Editors complete and check job files by JSON Schema: `docs/schema/*.json`, also printed by `raykd schema run|meta_kd|tune`. A
first line `# yaml-language-server: $schema=PATH` names the schema, as in `jobs/*.yaml`.

`make docs`, or `python -m raykd.config.reference`, generates this page and the schemas from the code. A test fails when they
are stale.
"""
TITLES = {"run": "Distillation", "meta_kd": "Cross-domain distillation (`kind: meta_kd`)", "tune": "Search (`kind: tune`)"}
NOTES = {
    TITLES[
        "tune"
    ]: "\nIn a file, `base` may also be the path of a job file, relative to this one, and `space` may be left out for the "
    f"default search space. A file may also hold `set`. {SET}\n"
}
PLAIN = {str: "text", int: "integer", float: "number", bool: "true or false", type(None): "null", Any: "any value"}
PARTS = (VariantConfig,)
"""Sections whose inherited keys have the default of another section."""
INHERITED = "that of the section"
PREFIXES = {"run": "", "meta_kd": "meta_kd: ", "tune": "tune: "}


def document() -> str:
    """The whole page."""
    titles: dict[type[BaseModel], str] = {}
    for kind, model in JOB_KINDS.items():
        _collect(model, TITLES[kind], PREFIXES[kind], titles)
    return INTRODUCTION + "".join(_table(title, model, titles) for model, title in titles.items())


def _collect(model: type[BaseModel], title: str, path: str, titles: dict[type[BaseModel], str]) -> None:
    """Add the heading of a section and of the sections inside it to ``titles``, each model once."""
    if model in titles:
        return
    titles[model] = title
    for name, field in model.model_fields.items():
        inner = list(_models(field.annotation))
        for one in inner:
            kind = one.model_fields.get("kind")
            suffix = f" (kind: {kind.default})" if len(inner) > 1 and kind is not None else ""
            key = field.alias or name
            _collect(one, f"`{path}{key}`{suffix}", f"{path}{key}.", titles)


def _table(title: str, model: type[BaseModel], titles: dict[type[BaseModel], str]) -> str:
    level = "##" if title in TITLES.values() else "###"
    lines = [f"\n{level} {title}\n\n{' '.join((model.__doc__ or '').split())}\n", NOTES.get(title, "")]
    own = model.__annotations__ if model in PARTS else model.model_fields
    lines.append("\n| key | value | default | meaning |\n|---|---|---|---|\n")
    for name, field in model.model_fields.items():
        default = _default(field) if name in own else INHERITED
        meaning = " ".join((field.description or "").split())
        lines.append(f"| `{field.alias or name}` | {_type(field, titles)} | {default} | {meaning} |\n")
    return "".join(lines)


def _anchor(title: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    if isinstance(annotation, PartOf):
        yield annotation.model
    for inner in get_args(annotation):
        yield from _models(inner)


def _type(field: FieldInfo, titles: dict[type[BaseModel], str]) -> str:
    bounds = [_bound(item) for item in field.metadata]
    return " ".join([_name(field.annotation, titles), *filter(None, bounds)]).replace("|", "\\|")


def _bound(item: Any) -> str:
    signs = {"ge": "≥", "gt": ">", "le": "≤", "lt": "<"}
    return ", ".join(f"{sign} {getattr(item, name):g}" for name, sign in signs.items() if hasattr(item, name))


def _name(annotation: Any, titles: dict[type[BaseModel], str]) -> str:
    arguments = get_args(annotation)
    match get_origin(annotation):
        case origin if origin is Literal:
            name = " or ".join(f"`{value}`" for value in arguments)
        case origin if origin in (Union, types.UnionType):
            name = " or ".join(dict.fromkeys(_name(inner, titles) for inner in arguments))
        case origin if origin is Annotated:
            parts = [item.model for item in arguments[1:] if isinstance(item, PartOf)]
            name = _name(parts[0] if parts else arguments[0], titles)
        case origin if origin is tuple:
            first = _name(arguments[0], titles)
            name = f"list of {first}" if Ellipsis in arguments else f"list of {len(arguments)} {first}s"
        case origin if origin is dict:
            name = f"mapping to {_name(arguments[1], titles)}"
        case _ if annotation in titles:
            name = f"[{_link_text(annotation)}](#{_anchor(titles[annotation])})"
        case _:
            name = PLAIN.get(annotation, str(annotation))
    return name


def _link_text(model: type[BaseModel]) -> str:
    """The kind of a section that is one of several, else `section`."""
    kind = model.model_fields.get("kind")
    return kind.default if kind is not None and get_args(kind.annotation) == (kind.default,) else "section"


def _default(field: FieldInfo) -> str:
    if field.default_factory is not None:
        return "`{}`" if field.default_factory is dict else "see meaning"
    if field.default is PydanticUndefined:
        return "required"
    if isinstance(field.default, BaseModel):
        kind = getattr(field.default, "kind", None)
        return f"kind: {kind}" if kind else "below"
    if field.default is None:
        return "null"
    value = list(field.default) if isinstance(field.default, tuple) else field.default
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def write(docs: Path) -> None:
    """Write the page and the JSON Schemas into the documentation folder."""
    (docs / "configuration.md").write_text(document(), encoding="utf-8")
    for kind in JOB_KINDS:
        (docs / "schema" / f"{kind}.json").write_text(schema_text(kind), encoding="utf-8")


if __name__ == "__main__":
    write(Path("docs"))
