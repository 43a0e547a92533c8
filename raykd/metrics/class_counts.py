"""Metrics that follow from three counts per class: rows that are right, rows with the label, rows with the prediction."""

from collections.abc import Callable

import numpy as np

from raykd.metrics.arrays import Floats, Labels

Statistic = Callable[[Floats], Floats]
"""From class counts ``[..., 3, C]`` (right, labelled, predicted) to one number each, ``[...]``."""


def class_counts(labels: Labels, predictions: Labels, classes: int) -> Floats:
    """Counts ``[3, C]`` of class ids ``[N]``."""
    right = labels[labels == predictions]
    return np.stack([np.bincount(ids, minlength=classes) for ids in (right, labels, predictions)]).astype(np.float64)


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


def correlation(counts: Floats) -> float:
    """Matthews correlation of predictions and labels, for any number of classes; 0 where one of them is a constant.

    Gorodkin 2004, doi:10.1016/j.compbiolchem.2004.09.006, from the sums of ``[3, C]``.
    """
    (right, labelled, predicted), rows = counts, counts[1].sum()
    spread = (rows**2 - (labelled**2).sum()) * (rows**2 - (predicted**2).sum())
    together = right.sum() * rows - (labelled * predicted).sum()
    return float(together / np.sqrt(spread)) if spread > 0 else 0.0


def f1_of(index: int) -> Statistic:
    """F1 of one class."""
    return lambda counts: np.asarray(class_f1(counts)[..., index])
