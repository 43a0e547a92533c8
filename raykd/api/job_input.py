"""Jobs as callers give them: a path, a mapping or a configuration object, with overrides."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from raykd.config import ExperimentConfig, MetaKDConfig, TuneConfig, read_yaml
from raykd.config.load import parse_overrides, with_overrides
from raykd.config.load_tune import search_content
from raykd.errors import ConfigError

JobInput: TypeAlias = str | os.PathLike[str] | Mapping[str, Any] | ExperimentConfig | MetaKDConfig | TuneConfig
"""The path of a job file, its content, or a configuration object."""
GivenOverrides: TypeAlias = Mapping[str, Any] | Sequence[str]
"""Values by their paths (``{"student.objective.temperature": 4}``), or texts as for ``--set``."""


def job_content(job: JobInput, overrides: GivenOverrides | None) -> tuple[dict[str, Any], str]:
    """Content of a job with overrides applied, and its name in errors. Raises ConfigError."""
    content, source = _content(job)
    return with_overrides(content, _override_pairs(overrides)), source


def tune_content(job: JobInput, overrides: GivenOverrides | None) -> tuple[dict[str, Any], str]:
    """Content of a search, its base included, with overrides applied, and its name in errors. Raises ConfigError.

    The path of a base starts from the folder of the search's file; of a mapping, from the current folder.
    """
    content, source = _content(job)
    folder = Path(os.path.expanduser(source)).parent if isinstance(job, str | os.PathLike) else Path()
    return search_content(content, _override_pairs(overrides), source=source, folder=folder), source


def _content(job: JobInput) -> tuple[dict[str, Any], str]:
    if isinstance(job, str | os.PathLike):
        return read_yaml(path := os.fspath(job)), path
    if isinstance(job, ExperimentConfig | MetaKDConfig | TuneConfig):
        return job.model_dump(mode="json"), "the job"
    if not isinstance(job, Mapping):
        raise ConfigError(
            f"the job is of type {type(job).__name__}; give the path of a job file, a mapping with its content, or a "
            "configuration object"
        )
    return dict(job), "the job"


def _override_pairs(overrides: GivenOverrides | None) -> list[tuple[tuple[str, ...], Any]]:
    if isinstance(overrides, Mapping):
        paths = {path: tuple(path.split(".")) if isinstance(path, str) else () for path in overrides}
        wrong = next((path for path, parts in paths.items() if not parts or not all(parts)), None)
        if wrong is not None:
            raise ConfigError(f"overrides has the key {wrong!r}; keys are paths such as 'student.objective.temperature'")
        return [(parts, overrides[path]) for path, parts in paths.items()]
    if isinstance(overrides, str) or not isinstance(overrides, Sequence | None):
        raise ConfigError(
            f"overrides is of type {type(overrides).__name__}; give a mapping of paths to values, or a list of texts 'a.b=c'"
        )
    return parse_overrides(overrides or ())
