"""From a YAML file and `a.b=c` overrides to an :class:`ExperimentConfig`, with errors that name the nearest key."""

import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from raykd.config.error_lines import error_lines
from raykd.config.experiment import ExperimentConfig
from raykd.config.metakd import MetaKDConfig
from raykd.config.paths import expand_home, root_context
from raykd.config.yaml_reader import RefusedValueError, parse_yaml
from raykd.errors import ConfigError

log = logging.getLogger(__name__)

_Root = TypeVar("_Root", bound=BaseModel)
_MAX_SHOWN = 200
"""Most characters of an override in an error."""


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
        text = Path(expand_home(str(path), "the path of the job file")).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ConfigError(f"cannot read the job file {path}: {error.strerror}; give the path of a YAML file") from None
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path} is not UTF-8 text ({error.reason} at byte {error.start})") from None
    try:
        content = parse_yaml(text)
        json.dumps(content)  # refuses what no job file means, such as an anchor inside itself
    except RefusedValueError as error:
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
    shown = repr(text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}...")
    parts = tuple(path.strip().split("."))
    if not separator or not all(parts):
        raise ConfigError(f"override {shown} is not of the form a.b=c (for example student.objective.temperature=4)")
    try:
        parsed = parse_yaml(value)
        json.dumps(parsed)  # as of a file
    except RefusedValueError as error:
        raise ConfigError(f"override {shown}: {error}") from None
    except (yaml.YAMLError, TypeError, ValueError, RecursionError):
        raise ConfigError(f"the value of override {shown} is not YAML; quote it") from None
    return parts, parsed


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
            if isinstance(named, dict) and path[2] not in named:
                known = ", ".join(map(str, named)) or "none"
                raise ConfigError(
                    f"override {'.'.join(path)}: the job names no variant {path[2]!r} (it names {known}); "
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
        raise ConfigError(f"{source}: " + "\n  ".join(dict.fromkeys(error_lines(error, model)))) from None
