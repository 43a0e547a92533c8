"""From a YAML file and `a.b=c` overrides to an :class:`ExperimentConfig`, with errors that name the nearest key."""

import difflib
import json
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from raykd.config.experiment import ExperimentConfig
from raykd.config.metakd import MetaKDConfig
from raykd.config.paths import expand_home, root_context
from raykd.config.section import InvalidPartsError, PartOf
from raykd.config.yaml_reader import DuplicateKeyError, parse_yaml
from raykd.errors import ConfigError

log = logging.getLogger(__name__)

_Root = TypeVar("_Root", bound=BaseModel)
_NEEDED = {
    "string_type": "text is needed here; put it in quotes",
    "int_parsing": "a whole number is needed here, written with digits alone",
    "dict_type": "a section is needed here, as in {key: value}; {} has no keys",
    "tuple_type": "a list is needed here, as in [a, b]",
    "model_type": "a section is needed here, with keys of its own",
    "model_attributes_type": "a section is needed here, with keys of its own",
}
"""Advice for a value of a wrong type, by pydantic's name for the error."""


def load(path: str | Path, overrides: Sequence[str] = ()) -> ExperimentConfig:
    """Read a job file, apply overrides such as ``student.objective.temperature=4``, and validate.

    Raises ConfigError: no such file, not YAML, an unknown key (with the nearest known one), a value out of bounds.
    """
    return build(with_overrides(read_yaml(path), parse_overrides(overrides)), source=str(path))


def load_job(path: str | Path, overrides: Sequence[str] = (), *, root: str | None = None) -> ExperimentConfig | MetaKDConfig:
    """Load a job of any kind: ``kind: meta_kd`` names its own, a file without ``kind`` is a distillation.

    Relative paths in the file are taken from the folder ``root``; without one, from the current folder.
    """
    return build_job(with_overrides(read_yaml(path), parse_overrides(overrides)), source=str(path), root=root)


def build_job(content: Mapping[str, Any], *, source: str, root: str | None = None) -> ExperimentConfig | MetaKDConfig:
    """Validate the content of a job of any kind; see :func:`load_job`. ``source`` names it in errors."""
    if "kind" not in content:
        return validate(ExperimentConfig, content, source=source, root=root)
    if content["kind"] == "tune":
        raise ConfigError(f"{source} is a search (kind: tune); start it with raykd tune")
    if content["kind"] != "meta_kd":
        raise ConfigError(f"{source}: kind = {content['kind']!r}; it is meta_kd, or left out for a distillation")
    return validate(MetaKDConfig, content, source=source, root=root)


def read_yaml(path: str | Path) -> dict[str, Any]:
    """Read a YAML file that contains a mapping. Raises ConfigError for anything else."""
    try:
        text = Path(expand_home(str(path))).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read the job file {path}: {error.strerror}; give the path of a YAML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    try:
        content = parse_yaml(text)
        json.dumps(content)  # refuses what no job file means: anchors inside themselves, sets, bytes
    except DuplicateKeyError as error:
        raise ConfigError(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(
            f"{path} holds more than sections, lists, text and numbers ({error}); see docs/configuration.md"
        ) from None
    if not isinstance(content, dict):
        raise ConfigError(f"{path} holds {type(content).__name__}, not a mapping of sections; see docs/configuration.md")
    return content


def parse_override(text: str) -> tuple[tuple[str, ...], Any]:
    """``a.b=c`` as a path and a value, the value read as YAML. Raises ConfigError without ``=`` or with an empty part."""
    path, separator, value = text.partition("=")
    parts = tuple(path.strip().split("."))
    if not separator or not all(parts):
        raise ConfigError(f"override {text!r} is not of the form a.b=c (for example student.objective.temperature=4)")
    try:
        return parts, parse_yaml(value)
    except DuplicateKeyError as error:
        raise ConfigError(f"override {text!r}: {error}") from None
    except (yaml.YAMLError, RecursionError):
        raise ConfigError(f"the value of override {text!r} is not YAML; quote it") from None


def parse_overrides(texts: Sequence[str]) -> list[tuple[tuple[str, ...], Any]]:
    """Overrides in their order. A later one replaces an earlier one of the same value or inside it, with a warning.

    Raises ConfigError as :func:`parse_override`.
    """
    given = [parse_override(text) for text in texts]
    for position, (path, value) in enumerate(given):
        for later, (other, last) in enumerate(given[position + 1 :], start=position + 1):
            if path[: len(other)] == other and (path != other or value != last):
                log.warning("--set %s is replaced by --set %s, which comes later", texts[position], texts[later])
                break
    return given


def with_overrides(content: Mapping[str, Any], overrides: Iterable[tuple[Sequence[str], Any]]) -> dict[str, Any]:
    """A copy of a job's content with the values at the given paths replaced.

    Raises ConfigError as :func:`merge`, and for a value of a variant that the job does not name: it would be a new
    variant, and the only one of a job that leaves ``variants`` out.
    """
    merged = merge(content, ())
    for path, value in overrides:
        if tuple(path[:2]) == ("student", "variants") and len(path) > 3:
            student = merged.get("student")
            named = (student.get("variants") if isinstance(student, dict) else None) or {}
            if path[2] not in named:
                raise ConfigError(
                    f"override {'.'.join(path)}: the job names no variant {path[2]!r} (it names {', '.join(named) or 'none'}); "
                    "add it under student.variants of the file, or change the section student itself"
                )
        merged = merge(merged, [(path, value)])
    return merged


def merge(base: Mapping[str, Any], overrides: Iterable[tuple[Sequence[str], Any]]) -> dict[str, Any]:
    """A copy of nested mappings with the values at the given paths replaced; missing sections are created."""
    merged = _copy(base)
    for path, value in overrides:
        section = merged
        for depth, part in enumerate(path[:-1]):
            section = section.setdefault(part, {})
            if not isinstance(section, dict):
                raise ConfigError(f"{'.'.join(path[: depth + 1])} is a value, not a section; {'.'.join(path)} cannot be set")
        section[path[-1]] = value
    return dict(merged)


def _copy(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if isinstance(value, list | tuple) else value


def build(content: Mapping[str, Any], *, source: str = "the configuration") -> ExperimentConfig:
    """Validate nested mappings. Raises ConfigError with one line per error."""
    return validate(ExperimentConfig, content, source=source)


def validate(model: type[_Root], content: Mapping[str, Any], *, source: str, root: str | None = None) -> _Root:
    """Validate a configuration of any kind; relative paths are taken from the folder ``root``, if one is given."""
    try:
        return model.model_validate(content, context=root_context(root))
    except ValidationError as error:
        raise ConfigError(f"{source}: " + "\n  ".join(dict.fromkeys(_lines(error, model)))) from None


def _lines(error: ValidationError, root: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """One line per error; ``prefix`` is the key of ``root``, with a dot, where that is a part of the configuration."""
    items = error.errors(include_url=False)
    for item in items:
        inner = item.get("ctx", {}).get("error")
        if isinstance(inner, InvalidPartsError):
            for key, model, errors in inner.parts:
                yield from _lines(errors, model, f"{key}.")
        elif not _is_other_branch(item, items):
            yield _describe(item, root, prefix)


def _is_other_branch(item: Any, items: Sequence[Any]) -> bool:
    """True for an error that only repeats that a list with an error inside is no text."""
    others = [other["loc"] for other in items if other is not item]
    inside = any(location[: len(item["loc"]) - 1] == item["loc"][:-1] for location in others)
    return item["type"] == "string_type" and isinstance(item["input"], list) and inside


def _describe(item: Any, root: type[BaseModel], prefix: str) -> str:
    path, kind = prefix + _path(item["loc"], root), item["type"]
    message: str = item["msg"].removeprefix("Value error, ")
    if kind == "extra_forbidden":
        return f"unknown key {path}{_nearest(item['loc'], root)}"
    if kind == "value_error":
        return f"{prefix.removesuffix('.')}: {message}" if prefix else message
    if kind in ("missing", "union_tag_not_found"):
        return f"{path if kind == 'missing' else f'{path}.kind'} is missing"
    if kind == "union_tag_invalid":
        return f"{path}.kind = {item['ctx']['tag']!r}: use one of {item['ctx']['expected_tags']}"
    return f"{path} = {item['input']!r}: {_NEEDED.get(kind, f'{message[0].lower()}{message[1:]}')}"


def _path(location: Sequence[str | int], root: type[BaseModel]) -> str:
    """The key as written in the file: a union's tag, which pydantic adds to the location, is left out."""
    last = len(location) - 1
    kept = [
        str(part)
        for depth, part in enumerate(location)
        if depth == last or isinstance(part, int) or str(part) in _keys_at(location[:depth], root)
    ]
    return ".".join(kept)


def _nearest(location: Sequence[str | int], root: type[BaseModel]) -> str:
    """The known key that is nearest to an unknown one, or the kinds of the section that have it."""
    key, here = str(location[-1]), _models_at(location[:-1], root)
    kinds = [_kind(model) for model in _models_at(location[:-1], root, every_kind=True) if key in model.model_fields]
    if kinds and all(kinds):
        return f"; it belongs to kind: {', '.join(map(str, kinds))}"
    known = sorted({field.alias or name for model in here for name, field in model.model_fields.items()})
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else f"; known keys there: {', '.join(known)}"


def _keys_at(location: Sequence[str | int], root: type[BaseModel]) -> set[str]:
    return {key for model in _models_at(location, root) for key in model.model_fields}


def _models_at(location: Sequence[str | int], root: type[BaseModel], *, every_kind: bool = False) -> list[type[BaseModel]]:
    """The sections that a location may be; of several kinds the one whose tag stands in it, or ``every_kind``."""
    models: list[type[BaseModel]] = [root]
    for part in location:
        fields = [model.model_fields[str(part)].annotation for model in models if str(part) in model.model_fields]
        tagged = models if every_kind else [model for model in models if _kind(model) == part] or models
        models = [inner for annotation in fields for inner in _models_in(annotation)] or tagged
    return models


def _kind(model: type[BaseModel]) -> str | None:
    field = model.model_fields.get("kind")
    return None if field is None else field.default


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if isinstance(annotation, PartOf):
        return [annotation.model]
    return [model for inner in get_args(annotation) for model in _models_in(inner)]
