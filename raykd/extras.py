"""Packages of optional parts, by the extra of the installation that has them."""

import importlib
from collections.abc import Mapping

from raykd.errors import ConfigError

EXTRAS: Mapping[str, tuple[str, ...]] = {
    "export": ("onnx", "onnxruntime", "onnxscript"),  # torch.onnx asks for the last one late, in its own words
    "serve": ("fastapi", "uvicorn", "starlette", "prometheus_client", "ray.serve"),
    "tensorboard": ("tensorboard",),
    "tune": ("optuna",),
    "wandb": ("wandb",),
}
"""Modules that a part imports; the extras of the same names in pyproject.toml install them."""


def require_extra(extra: str, purpose: str) -> None:
    """Raise ConfigError, with the command that installs it, when a module of an extra cannot be imported.

    ``purpose`` begins the message: "exporting", "tracking.kind = wandb".
    """
    for module in EXTRAS[extra]:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ConfigError(
                f"{purpose} needs {error.name or module}, which is not installed; pip install 'raykd[{extra}]'"
            ) from None
