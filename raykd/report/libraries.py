"""Imports of the libraries that a report computes and draws with: 2 s of processor time, which a waiting driver has before."""

import contextlib
import importlib

LIBRARIES = ("sklearn.metrics", "scipy.optimize", "scipy.sparse", "matplotlib.figure", "matplotlib.backends.backend_svg")


def import_libraries() -> None:
    """Import them."""
    for name in LIBRARIES:
        with contextlib.suppress(Exception):  # of any type: what uses the library imports it again, and reports it
            importlib.import_module(name)
