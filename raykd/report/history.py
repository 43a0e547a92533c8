"""Training curves from the history file that the training loop writes, one JSON object a line."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import Field

from raykd.data import storage
from raykd.errors import DataError
from raykd.report.record import Record

MAX_POINTS = 200


class Series(Record):
    """Figures over training: every list of ``values`` is as long as ``steps``; None where a figure was not given or finite."""

    steps: tuple[float, ...] = ()
    """Optimiser steps done; the mean of those that a point stands for."""
    values: dict[str, tuple[float | None, ...]] = Field(default_factory=dict)
    """Figures by name."""


class Curves(Record):
    """How one training went."""

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

    Points closer than that are averaged. A step that stands there twice (after a restart) counts as it was written last.
    Raises DataError naming the file and line that is not a record.
    """
    records = list(_records(storage.read_bytes(path).decode("utf-8").splitlines(), path))
    return Curves(
        seed=seed,
        terms=_series(records, "train", "terms"),
        metrics=_series(records, "eval", "metrics"),
        shares=_series(records, "gradient_share", "shares"),
    )


def _records(lines: Iterable[str], path: str) -> Iterator[Mapping[str, Any]]:
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number} is not a JSON record ({error.msg}); delete the line or the file") from None
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            raise DataError(f"{path}:{number} is a record without a step; delete the line or the file")
        yield record


def _series(records: Sequence[Mapping[str, Any]], event: str, key: str) -> Series:
    figures = {record["step"]: record.get(key, {}) for record in records if record.get("event") == event}
    steps = sorted(figures)
    names = list(dict.fromkeys(name for step in steps for name in figures[step]))
    bins = np.array_split(np.array(steps), min(MAX_POINTS, max(len(steps), 1)))
    values = {name: tuple(_mean([figures[step].get(name) for step in group.tolist()]) for group in bins) for name in names}
    return Series(steps=tuple(float(group.mean()) for group in bins if len(group)), values=values)


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None and np.isfinite(value)]
    return float(np.mean(known)) if known else None
