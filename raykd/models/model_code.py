"""Import of the modelling code that all models of transformers share, without what text models do not need."""

import gc
import importlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LOSSES = "transformers.loss.loss_utils"


def import_model_code() -> None:
    """Import it, unless it is there. Call this before the first model of a process.

    The losses of object detection are part of it, and import scipy where it is installed: 1 of 2.7 s of processor time.
    """
    if _LOSSES in sys.modules:
        return
    from transformers import utils

    found = utils.is_scipy_available
    before = set(sys.modules)
    utils.is_scipy_available = absent = lambda: False
    try:
        with without_collector():
            for name in (_LOSSES, "transformers.modeling_layers"):
                importlib.import_module(name)
    finally:
        utils.is_scipy_available = found
    for name in sys.modules.keys() - before:
        module: Any = sys.modules[name]
        if getattr(module, "is_scipy_available", None) is absent:
            module.is_scipy_available = found
            module.linear_sum_assignment = _linear_sum_assignment


def _linear_sum_assignment(*arguments: Any, **settings: Any) -> Any:
    """The function of scipy's, imported when it is called: by a model of the same process that detects objects."""
    from scipy.optimize import linear_sum_assignment  # type: ignore[import-untyped]  # scipy has no types

    return linear_sum_assignment(*arguments, **settings)


@contextmanager
def without_collector() -> Iterator[None]:
    """No garbage collection meanwhile: the first model of a process imports a third of a million objects of code, all of which
    stay, and the collector would go through them again and again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
