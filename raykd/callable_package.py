"""Packages of raykd whose name is a function of the Python API too: ``raykd.run(job)`` calls :func:`raykd.api.jobs.run`."""

import importlib
import inspect
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

FUNCTIONS = {"raykd.run": "raykd.api.jobs", "raykd.tune": "raykd.api.search"}
"""Module of the function, which has the last name of the package."""


class CallablePackage(ModuleType):
    """A package that a call passes on to its function; the function's module is imported at the first call."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the function."""
        return self._function(*args, **kwargs)

    @property
    def _function(self) -> Callable[..., Any]:
        name = self.__name__
        function: Callable[..., Any] = getattr(importlib.import_module(FUNCTIONS[name]), name.rpartition(".")[2])
        return function

    @property
    def __signature__(self) -> inspect.Signature:
        """Signature of the function, for :func:`inspect.signature` and notebooks."""
        return inspect.signature(self._function)


def make_callable(package: str) -> None:
    """Make an imported package callable."""
    sys.modules[package].__class__ = CallablePackage
