"""From a job file of ``kind: tune`` to a :class:`TuneConfig` whose every trial the base's configuration allows."""

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

from raykd.config.experiment import ExperimentConfig
from raykd.config.load import merge, parse_overrides, read_yaml, validate
from raykd.config.metakd import MetaKDConfig
from raykd.config.paths import expand_home
from raykd.config.search_space import Value
from raykd.config.searched_job import SearchedJob
from raykd.config.tune import BaseConfig, TuneConfig
from raykd.errors import ConfigError

MAX_CORNERS = 64
"""Maximum number of combinations of bounds that are tried on the configuration; beyond it each bound is tried alone."""
SEARCHED: dict[str | None, type[BaseConfig]] = {None: ExperimentConfig, "meta_kd": MetaKDConfig}
"""Configuration of each kind of job that can be searched, by the job's `kind`."""
PathValues: TypeAlias = Sequence[tuple[Sequence[str], Any]]
"""Paths and the values that are set there."""
Job = TypeVar("Job", bound=SearchedJob)


def load_tune(path: str | Path, overrides: Sequence[str] = (), *, root: str | None = None) -> TuneConfig:
    """Read a search's job file; an override reaches the base as ``base.a.b=c``, a path in ``space`` is one key.

    Relative paths in the base are taken from the folder ``root``; without one, from the current folder.

    Raises ConfigError: errors of a job file, in either file; a path that the base does not have (with the nearest
    one it has), a value in the space that the base's configuration forbids, a grid with more combinations than trials.
    """
    folder = Path(expand_home(str(path))).parent
    content = search_content(read_yaml(path), parse_overrides(overrides), source=str(path), folder=folder)
    return build_tune(content, source=str(path), root=root)


def search_content(content: Mapping[str, Any], overrides: PathValues, *, source: str, folder: Path) -> dict[str, Any]:
    """The content of a search with its base, a file in ``folder`` where it is a path, and with overrides applied."""
    content = dict(content)
    kind = content.get("kind")
    if kind != "tune":
        if kind in tuple(SEARCHED):
            raise ConfigError(f"{source} is no search (kind: tune), but a job that raykd run takes; a search has it as base")
        raise ConfigError(f"{source}: kind = {kind!r}; a search has kind: tune, and another job as base")
    content, overrides = _with_whole_base(content, overrides)
    if isinstance(content.get("base"), str):
        content["base"] = read_yaml(folder / expand_home(content["base"], "base"))
    if isinstance(content.get("base"), dict) and isinstance(content.get("set"), dict):  # before overrides, which go first
        changes = [(str(key).split("."), value) for key, value in content.pop("set").items()]
        content["base"] = merge(content["base"], changes)
    for path, value in overrides:
        space = content.get("space")
        searched = [str(one) for one in space] if isinstance(space, Mapping) else []
        content = merge(content, [_in_space(tuple(path), value, searched)])
    return content


def _with_whole_base(content: dict[str, Any], overrides: PathValues) -> tuple[dict[str, Any], PathValues]:
    """The content with the last override of ``base`` itself, and the overrides that are left: those of its keys follow it."""
    last = max((position for position, (path, _) in enumerate(overrides) if tuple(path) == ("base",)), default=None)
    if last is None:
        return content, overrides
    left = [one for position, one in enumerate(overrides) if position > last or one[0][0] != "base"]
    return {**content, "base": overrides[last][1]}, left


def is_search(path: str | Path) -> bool:
    """True for the job file of a search. Raises ConfigError for an invalid file."""
    return read_yaml(path).get("kind") == "tune"


def build_tune(content: Mapping[str, Any], *, source: str = "the configuration", root: str | None = None) -> TuneConfig:
    """Validate nested mappings; see :func:`load_tune`."""
    base = build_base(content.get("base"), name=content.get("name"), changes=content.get("set") or {}, source=source, root=root)
    given = {key: value for key, value in content.items() if key != "set"}
    config = validate(TuneConfig, {**given, "base": base.model_dump(mode="json")}, source=source)
    check_space(config)
    return config


def build_base(content: Any, *, name: Any, changes: Mapping[str, Any], source: str, root: str | None = None) -> BaseConfig:
    """The searched job, with the name of the search and ``changes`` by path. Raises ConfigError."""
    if not isinstance(content, Mapping):
        given = "base is missing" if content is None else f"base = {content!r}"
        raise ConfigError(f"{source}: {given}; give the path of the job file that is searched, or its content")
    if not isinstance(name, str) or not isinstance(changes, Mapping):
        raise ConfigError(f"{source}: name = {name!r}, set = {changes!r}; a search has a name, and set maps paths to values")
    merged = merge(content, [(["name"], name), *((path.split("."), value) for path, value in changes.items())])
    kind = merged.get("kind")
    if kind not in tuple(SEARCHED):
        raise ConfigError(f"{source}: base has kind = {kind!r}; a distillation or a meta_kd job can be searched")
    source = f"{source}, base"
    return validate(SEARCHED[kind], merged, source=source, root=root)


def with_values(base: Job, values: Mapping[str, Value]) -> Job:
    """The base with values at the given paths. Raises ConfigError when it forbids them."""
    content = merge(base.model_dump(mode="json"), [(path.split("."), value) for path, value in values.items()])
    named = [f"{path} = {value}" for path, value in values.items()]
    try:
        return validate(type(base), content, source="space")
    except ConfigError as error:
        if all(one in str(error) for one in named):
            raise
        raise ConfigError(f"space, {', '.join(named)}: {str(error).removeprefix('space: ')}") from None


def check_space(config: TuneConfig) -> None:
    """Raise ConfigError for a path that cannot be searched, or bounds that the base's configuration forbids."""
    known = list(_paths(config.base.model_dump(mode="json")))
    for path, one in config.space.items():
        if path not in known:
            raise ConfigError(f"space: {path} does not exist{_nearest(path, known)}")
        reason = config.base.refuse_path(path)
        if reason is not None:
            raise ConfigError(f"space: {path} cannot be searched: {reason}")
        for value in one.check_values():
            with_values(config.base, {path: value})
    corners = [one.check_values()[:2] for one in config.space.values()]
    if 2 ** len(corners) <= MAX_CORNERS:
        for values in itertools.product(*corners):
            with_values(config.base, dict(zip(config.space, values, strict=True)))


def _in_space(path: tuple[str, ...], value: Any, searched: Sequence[str]) -> tuple[tuple[str, ...], Any]:
    """``space.a.b`` and ``space.a.b.high``: a hyperparameter is one key of the space, with dots in it."""
    if path[0] != "space" or len(path) < 3:
        return path, value
    whole = ".".join(path[1:])
    known = next((one for one in searched if whole.startswith(f"{one}.")), None)
    return ("space", *([whole] if known is None else [known, *whole.removeprefix(f"{known}.").split(".")])), value


def _paths(content: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _paths(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"


def _nearest(path: str, known: Sequence[str]) -> str:
    """The nearest known path: first one with the same last word, then one with a similar spelling."""
    last = path.rsplit(".", 1)[-1]
    words = difflib.get_close_matches(last, {one.rsplit(".", 1)[-1] for one in known}, n=1, cutoff=0.6)
    same = [one for one in known if words and one.rsplit(".", 1)[-1] == words[0]]
    section = [one for one in same if one.split(".", 1)[0] == path.split(".", 1)[0]]
    near = difflib.get_close_matches(path, section or same or known, n=1, cutoff=0.0)
    return f"; did you mean {near[0]}?"
