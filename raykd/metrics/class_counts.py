"""Metrics that follow from three counts per class: rows that are right, rows with the label, rows with the prediction."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From class counts ``[..., 3, C]`` (right, labelled, predicted) to one number each, ``[...]``."""


def accuracy(counts: Floats) -> Floats:
    """Fraction of right rows of ``[..., 3, C]``."""
    return np.asarray(counts[..., 0, :].sum(axis=-1) / counts[..., 1, :].sum(axis=-1))


def class_f1(counts: Floats) -> Floats:
    """F1 of every class, ``[..., C]``; 0 for a class that is neither there nor predicted."""
    total = counts[..., 1, :] + counts[..., 2, :]
    return np.asarray(2 * counts[..., 0, :] / np.where(total > 0, total, 1))


def macro_f1(counts: Floats) -> Floats:
    """Mean F1 over the classes of ``[..., 3, C]``."""
    return np.asarray(class_f1(counts).mean(axis=-1))


def f1_of(index: int) -> Statistic:
    """F1 of one class."""
    return lambda counts: np.asarray(class_f1(counts)[..., index])
