"""Metrics that follow from a confusion matrix: label by prediction, entries are row counts."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Statistic = Callable[[Floats], Floats]
"""From confusion matrices ``[..., C, C]`` to one number each, ``[...]``."""


def accuracy(confusion: Floats) -> Floats:
    """Fraction of rows on the diagonal of ``[..., C, C]``."""
    return np.asarray(np.trace(confusion, axis1=-2, axis2=-1) / confusion.sum(axis=(-2, -1)))


def class_f1(confusion: Floats) -> Floats:
    """F1 of every class, ``[..., C]``; 0 for a class that is neither there nor predicted."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    total = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    return np.asarray(2 * hits / np.where(total > 0, total, 1))


def macro_f1(confusion: Floats) -> Floats:
    """Mean F1 over the classes of ``[..., C, C]``."""
    return np.asarray(class_f1(confusion).mean(axis=-1))


def f1_of(index: int) -> Statistic:
    """F1 of one class."""
    return lambda confusion: np.asarray(class_f1(confusion)[..., index])
