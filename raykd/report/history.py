"""Training curves from the history file of a training."""

from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import Field

from raykd.report.record import Record
from raykd.trainers.event_log import read_history
from raykd.trainers.events import Evaluated, GradientShares, StepMetrics

MAX_POINTS = 200


class Series(Record):
    """Metrics over training: every list of ``values`` is as long as ``steps``; None where one is missing or not finite."""

    steps: tuple[float, ...] = ()
    """Optimiser steps done; the mean over the steps that a point averages."""
    values: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    """Values by the metric's name."""


class Curves(Record):
    """Loss terms, validation metrics and gradient shares of one training."""

    seed: int | None
    """Seed of the training."""
    terms: Series = Series()
    """Each term of the loss, weights included."""
    metrics: Series = Series()
    """Metrics on the validation rows."""
    shares: Series = Series()
    """Each term's share of the gradient's norm, where it was logged."""


def read_curves(path: str, *, seed: int | None) -> Curves:
    """Curves of at most 200 points each from a history file.

    Points closer than that are averaged. Of a step that was repeated after a restart, the last values count.
    Raises DataError naming the file and line that is not an event.
    """
    events = read_history(path)
    return Curves(
        seed=seed,
        terms=_series({event.step: event.terms for event in events if isinstance(event, StepMetrics)}),
        metrics=_series({event.step: event.metrics for event in events if isinstance(event, Evaluated)}),
        shares=_series({event.step: event.shares for event in events if isinstance(event, GradientShares)}),
    )


def _series(metrics: Mapping[int, Mapping[str, float]]) -> Series:
    steps = sorted(metrics)
    names = list(dict.fromkeys(name for step in steps for name in metrics[step]))
    bins = np.array_split(np.array(steps), min(MAX_POINTS, max(len(steps), 1)))
    values = {name: tuple(_mean([metrics[step].get(name) for step in group.tolist()]) for group in bins) for name in names}
    return Series(steps=tuple(float(group.mean()) for group in bins if len(group)), values=values)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(known)) if known else None
