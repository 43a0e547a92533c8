"""Lookup of trackers by ``tracking.kind``, and the listener that feeds them training events."""

import dataclasses
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raykd.data import storage
from raykd.errors import ConfigError
from raykd.tracking.tensorboard_tracker import TensorBoardTracker
from raykd.tracking.tracker import NullTracker, TrackedRun, Tracker
from raykd.tracking.wandb_tracker import open_wandb
from raykd.trainers.events import Evaluated, GradientShares, StepMetrics, TrainingEvent

TRACKERS: Mapping[str, Callable[[TrackedRun], Tracker]] = {
    "none": lambda _: NullTracker(),
    "wandb": open_wandb,
    "tensorboard": TensorBoardTracker,
}
"""Constructor of each kind of tracker."""
STEP_METRICS = ("loss", "learning_rate", "grad_norm", "rows_per_second", "data_wait_s", "epoch")
"""Fields of StepMetrics that are tracked besides the terms of the loss."""


class _Uploading:
    """A tracker that writes to a local folder, which is copied to an object store when the run is finished."""

    def __init__(self, build: Callable[[TrackedRun], Tracker], run: TrackedRun) -> None:
        self._local = tempfile.TemporaryDirectory(prefix="raykd-tracking-")
        self._tracker = build(dataclasses.replace(run, folder=self._local.name))
        self._folder = run.folder

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics."""
        self._tracker.log(step, metrics)

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Record a table."""
        self._tracker.table(name, header, rows)

    def finish(self, summary: Mapping[str, float] | None = None) -> None:
        """Close the tracker and copy its files."""
        self._tracker.finish(summary)
        storage.upload_dir(self._local.name, self._folder)
        self._local.cleanup()


def open_tracker(
    kind: str,
    *,
    project: str,
    run_name: str,
    group: str | None,
    run_id: str,
    config: Mapping[str, Any],
    folder: str,
) -> Tracker:
    """Open the tracker of one run, in one process only. A remote ``folder`` is filled when the run is finished.

    ``config`` is JSON-like; secrets in it are left out. Raises ConfigError for an unknown kind.
    """
    build = TRACKERS.get(kind)
    if build is None:
        raise ConfigError(f"tracking.kind = {kind!r} is not one of {', '.join(TRACKERS)}; choose one of them")
    run = TrackedRun(project, run_name, group, run_id, config, folder)
    return _Uploading(build, run) if "://" in folder and kind != "none" else build(run)


def metrics_of(event: TrainingEvent) -> dict[str, float]:
    """Metrics of an event by their tracked names; empty for events without any.

    ``train/<term>``, ``train/loss``, ``train/learning_rate``, ``train/grad_norm``, ``train/rows_per_second``,
    ``train/data_wait_s``, ``train/epoch``; ``eval/<metric>``; ``gradient_share/<term>``.
    """
    match event:
        case StepMetrics():
            metrics = {**event.terms, **{name: getattr(event, name) for name in STEP_METRICS}}
            return {f"train/{name}": value for name, value in metrics.items()}
        case Evaluated():
            return {f"eval/{name}": value for name, value in event.metrics.items()}
        case GradientShares():
            return {f"gradient_share/{name}": value for name, value in event.shares.items()}
        case _:
            return {}


def listener(tracker: Tracker) -> Callable[[TrainingEvent], None]:
    """A listener for training events that logs their metrics to ``tracker``."""

    def log_metrics(event: TrainingEvent) -> None:
        metrics = metrics_of(event)
        if metrics:
            tracker.log(event.step, metrics)

    return log_metrics
