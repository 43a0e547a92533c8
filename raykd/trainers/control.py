"""Requests that reach a training from outside: write a checkpoint, stop."""

from collections.abc import Callable
from dataclasses import dataclass


class StopRequested(Exception):  # noqa: N818 - it is no error
    """Training ended before its last step because it was asked to; a checkpoint is saved."""


@dataclass(frozen=True)
class ControlRequests:
    """Callables that are polled at every step, so both must return at once. The first worker's answers count."""

    checkpoint: Callable[[], bool] = lambda: False
    """Returns true once for each reason to write a checkpoint now."""
    stop: Callable[[], bool] = lambda: False
    """Returns true when a checkpoint is to be written and training to stop."""
