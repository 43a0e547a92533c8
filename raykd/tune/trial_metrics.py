"""Metrics of a trial, accumulated over its trainings: reports for Ray Tune, and the trial's run in the tracker."""

from typing import Any

import numpy as np

from raykd.run.task import TrainTask
from raykd.tracking import Tracker, metrics_of
from raykd.trainers.event_log import read_history
from raykd.trainers.events import Ended, Evaluated, TeacherStatesChosen, TrainingEvent
from raykd.tune.trial_record import SharedWorkCount


class TrialMetrics:
    """Receives the events of a trial's trainings, one training after the other."""

    def __init__(self, tracker: Tracker, metric: str) -> None:
        self._tracker, self._metric = tracker, metric
        self._before = 0
        self._step = 0
        self._prefix = ""
        self._results: list[float] = []
        self._current: float | None = None
        self.work = SharedWorkCount()
        """Work since the last report that trials should share."""

    @property
    def step(self) -> int:
        """Optimiser steps of the current training."""
        return self._step

    @property
    def current(self) -> float | None:
        """Metric of the last evaluation."""
        return self._current

    def begin_training(self, domain: str) -> None:
        """Start the next training; its metrics are tracked under its domain, if it has one."""
        self._prefix = f"{domain}/" if domain else ""
        self._current = None

    def record(self, event: TrainingEvent) -> None:
        """Take in an event of the current training."""
        if not isinstance(event, TeacherStatesChosen):  # of no step in particular
            self._step = event.step
        if isinstance(event, Evaluated):
            self._current = event.metrics.get(self._metric)
        metrics = metrics_of(event)
        if metrics:
            self._tracker.log(self._before + self._step, {f"{self._prefix}{name}": value for name, value in metrics.items()})

    def end_training(self, task: TrainTask, *, last: bool) -> None:
        """Add a finished training; the metric of the ``last`` one of a chain counts for the trial."""
        ended = end_of(task)
        self._before += ended.step
        self._step = 0
        if last:
            self._results.append(best_metric(task))

    def report(self, best: float | None = None) -> dict[str, Any]:
        """Return a report: steps, work since the last report, and with ``best`` the best and the last metric."""
        metrics = {} if best is None else {"value": best, "current": best if self._current is None else self._current}
        work, self.work = self.work, SharedWorkCount()
        return {"step": self._before + self._step, "work": work.model_dump(), **metrics}

    def final_report(self) -> dict[str, Any]:
        """Return the last report: the mean over the chains' results."""
        value = float(np.mean(self._results))
        return {**self.report(), "value": value, "current": value, "complete": True}


def end_of(task: TrainTask) -> Ended:
    """Last event of a finished training: its last step and its best metric."""
    return next(event for event in reversed(read_history(task.history)) if isinstance(event, Ended))


def best_metric(task: TrainTask) -> float:
    """Best validation metric of a finished training. Raises RuntimeError when it had no validation set."""
    best = end_of(task).best
    if best is None:
        raise RuntimeError(f"{task.name} was trained without a validation set: it has no metric")
    return best
