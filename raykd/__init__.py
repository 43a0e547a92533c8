"""Knowledge distillation for text classifiers, from a laptop to a Ray cluster."""

import importlib
from typing import Any

__version__ = "0.1.0"

_PLACES = {
    "CheckpointError": "raykd.errors",
    "ConfigError": "raykd.errors",
    "DataError": "raykd.errors",
    "Int8RefusedError": "raykd.errors",
    "ModelError": "raykd.errors",
    "RaykdError": "raykd.errors",
    "ResourceError": "raykd.errors",
    "RunResult": "raykd.api.run_result",
    "SearchResult": "raykd.api.search_result",
    "TrainedModel": "raykd.api.trained_model",
    "TrainingError": "raykd.errors",
    "export": "raykd.api.model_files",
    "load_run": "raykd.api.jobs",
    "shrink": "raykd.api.model_files",
}
"""Modules of the public names, imported at the first access."""
_CALLABLE_PACKAGES = ("run", "tune")
"""Packages that are functions too (:mod:`raykd.callable_package`)."""

__all__ = [  # the types are in __init__.pyi
    "CheckpointError",
    "ConfigError",
    "DataError",
    "Int8RefusedError",
    "ModelError",
    "RaykdError",
    "ResourceError",
    "RunResult",
    "SearchResult",
    "TrainedModel",
    "TrainingError",
    "__version__",
    "export",
    "load_run",
    "run",
    "shrink",
    "tune",
]


def __getattr__(name: str) -> Any:
    if name in _CALLABLE_PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(importlib.import_module(_PLACES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
