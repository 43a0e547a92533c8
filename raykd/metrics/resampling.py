"""Forms of a metric that a bootstrap can compute on resampled rows without going through all rows again."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.metrics.arrays import Floats
from raykd.metrics.class_counts import Statistic


@dataclass(frozen=True)
class RowMean:
    """The mean of a 0 or 1 per row, such as accuracy."""

    correct: Callable[[NDArray[Any], NDArray[Any]], NDArray[np.bool_]]
    """From labels and logits to ``[N]``."""


@dataclass(frozen=True)
class ClassCountMetric:
    """A function of the counts of each class among labels and most probable classes, such as F1."""

    statistic: Statistic


@dataclass(frozen=True)
class MomentMetric:
    """A function of sums over the rows, such as a correlation."""

    features: Callable[[NDArray[Any], NDArray[Any]], Floats]
    """From labels and logits to the numbers of each row that are summed, ``[N, K]``."""
    statistic: Callable[[Floats], Floats]
    """From sums ``[..., K]`` to one number each, ``[...]``."""


Resampled = RowMean | ClassCountMetric | MomentMetric
