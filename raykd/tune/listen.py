"""What a trial's trainings say of themselves, added up over them: for Ray Tune, and for the trial's run in the tracker."""

from typing import Any

import numpy as np

from raykd.run.task import TrainTask
from raykd.tracking import Tracker, metrics_of
from raykd.trainers.event_log import read_history
from raykd.trainers.events import Ended, Evaluated, TeacherStatesChosen, TrainingEvent
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

    def hear(self, event: TrainingEvent) -> None:
        """Take in an event of the current training."""
        if not isinstance(event, TeacherStatesChosen):  # of no step in particular
            self._step = event.step
        if isinstance(event, Evaluated):
            self._current = event.metrics.get(self._metric)
        metrics = metrics_of(event)
        if metrics:
            self._tracker.log(self._before + self._step, {f"{self._prefix}{name}": value for name, value in metrics.items()})

    def end(self, task: TrainTask, *, final: bool) -> None:
        """The training is done, now or before; ``final`` says that its figure is the trial's."""
        ended = end_of(task)
        self._before += ended.step
        self._step = 0
        if final:
            self._finals.append(best_metric(task))

    def report(self, best: float | None = None) -> dict[str, Any]:
        """How far the trial is: steps, work since the last report, best and last figure where they speak of the whole."""
        figures = {} if best is None else {"value": best, "current": best if self._current is None else self._current}
        work, self.work = self.work, Work()
        return {"step": self._before + self._step, "work": work.model_dump(), **figures}

    def last_report(self) -> dict[str, Any]:
        """What came out: the mean over the chains' results."""
        value = float(np.mean(self._finals))
        return {**self.report(), "value": value, "current": value, "complete": True}


def end_of(task: TrainTask) -> Ended:
    """Last event of a finished training: its last step and its best metric."""
    return next(event for event in reversed(read_history(task.history)) if isinstance(event, Ended))


def best_metric(task: TrainTask) -> float:
    """Best validation metric of a finished training. Raises RuntimeError when it had no validation set."""
    best = end_of(task).best
    if best is None:
        raise RuntimeError(f"{task.name} was trained without a validation set: nothing says how good it is")
    return best
