"""Packages of optional parts, by the extra of the installation that has them."""

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from raykd.errors import ConfigError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "export": ("onnx", "onnxruntime", "onnxscript"),  # torch.onnx asks for the last one late, in its own words
    "openvino": ("openvino",),  # its files are converted from ONNX files, so that export is needed too
    "serve": ("fastapi", "uvicorn", "starlette", "prometheus_client", "ray.serve"),
    "tensorboard": ("tensorboard",),
    "tune": ("optuna",),
    "wandb": ("wandb",),
}
"""Modules that a part imports; the extras of the same names in pyproject.toml install them."""

SENDS_USAGE_DATA = {"openvino": "openvino_telemetry"}
"""Modules that report their import to their vendor through a package of its own, and that package; they work without it."""


def import_extra(module: str) -> Any:
    """Import a module of an extra; it finds no package that would send usage data. Raises ImportError."""
    if module in SENDS_USAGE_DATA:
        sys.modules.setdefault(SENDS_USAGE_DATA[module], None)  # type: ignore[arg-type]  # None: cannot be imported
    return importlib.import_module(module)


def require_extra(extra: str, purpose: str) -> None:
    """Raise ConfigError, with the command that installs it, when a module of an extra cannot be imported.

    ``purpose`` begins the message: "exporting", "tracking.kind = wandb".
    """
    for module in EXTRAS[extra]:
        try:
            import_extra(module)
        except ImportError as error:
            raise ConfigError(
                f"{purpose} needs {error.name or module}, which is not installed; pip install 'raykd[{extra}]'"
            ) from None
