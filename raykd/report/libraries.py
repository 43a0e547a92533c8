"""Imports of the libraries that a report computes and draws with: 2 s of processor time, which a waiting driver has before."""

import contextlib
import importlib

LIBRARIES = ("sklearn.metrics", "scipy.optimize", "scipy.sparse", "matplotlib.figure", "matplotlib.backends.backend_svg")


def import_libraries() -> None:
    """Import them; one that is missing is reported by what uses it."""
    for name in LIBRARIES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
