"""What a trial's trainings say of themselves, added up over them: for Ray Tune, and for the trial's run in the tracker."""

import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from raykd.data import storage
from raykd.run.task import TrainTask
from raykd.tracking import Tracker, metrics_of
from raykd.tune.trial_record import Work


class Listening:
    """Hears the records of one trial's trainings, one training after the other."""

    def __init__(self, tracker: Tracker, metric: str) -> None:
        self._tracker, self._metric = tracker, metric
        self._before = 0
        self._step = 0
        self._prefix = ""
        self._finals: list[float] = []
        self._current: float | None = None
        self.work = Work()
        """What the trial has done since its last report that trials should not repeat."""

    @property
    def step(self) -> int:
        """Optimiser steps of the training at hand."""
        return self._step

    @property
    def current(self) -> float | None:
        """The last evaluation's figure."""
        return self._current

    def begin(self, domain: str) -> None:
        """The next training begins; its figures are tracked under its domain, if it has one."""
        self._prefix = f"{domain}/" if domain else ""
        self._current = None

    def hear(self, entry: Mapping[str, Any]) -> None:
        """A record of the training at hand."""
        if entry["event"] != "teacher_states":  # of no step in particular
            self._step = entry["step"]
        if entry["event"] == "eval":
            self._current = entry["metrics"].get(self._metric)
        metrics = metrics_of(entry)
        if metrics:
            self._tracker.log(self._before + self._step, {f"{self._prefix}{name}": value for name, value in metrics.items()})

    def end(self, task: TrainTask, *, final: bool) -> None:
        """The training is done, now or before; ``final`` says that its figure is the trial's."""
        record = end_of(task)
        self._before += record["step"]
        self._step = 0
        if final:
            self._finals.append(record["best"])

    def report(self, best: float | None = None) -> dict[str, Any]:
        """How far the trial is: steps, work since the last report, best and last figure where they speak of the whole."""
        figures = {} if best is None else {"value": best, "current": best if self._current is None else self._current}
        work, self.work = self.work, Work()
        return {"step": self._before + self._step, "work": work.model_dump(), **figures}

    def last_report(self) -> dict[str, Any]:
        """What came out: the mean over the chains' results."""
        value = float(np.mean(self._finals))
        return {**self.report(), "value": value, "current": value, "complete": True}


def end_of(task: TrainTask) -> dict[str, Any]:
    """The record that a finished training ends its history with: its last step, and its best figure."""
    lines = storage.read_bytes(task.history).decode("utf-8").splitlines()
    record: dict[str, Any] = next(found for found in map(json.loads, reversed(lines)) if found["event"] == "end")
    return record
