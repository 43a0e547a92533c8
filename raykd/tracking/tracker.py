"""Interface of trackers: one writer per run. A tracker asks no questions and never stops a training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True)
class TrackedRun:
    """Identity and settings of the run that a tracker records."""

    project: str
    run_name: str
    group: str | None
    """Experiment that the run belongs to."""
    run_id: str
    """The same id continues the same run, also after a restart."""
    config: Mapping[str, Any]
    """JSON-like settings; a tracker leaves secrets out."""
    folder: str
    """Local folder for the tracker's files."""


class Tracker(Protocol):
    """Records the metrics of one run."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics after ``step`` optimiser steps; steps never decrease."""

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Record a table of numbers and text, once."""

    def finish(self, summary: Mapping[str, float] | None = None) -> None:
        """Record the final metrics and write everything; nothing may be logged afterwards."""


class NullTracker:
    """Records nothing."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Do nothing."""

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Do nothing."""

    def finish(self, summary: Mapping[str, float] | None = None) -> None:
        """Do nothing."""
