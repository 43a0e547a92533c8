"""Metrics of one model on rows with a number as their label."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.errors import DataError
from raykd.metrics.arrays import Floats, Logits

Values = NDArray[np.floating[Any]]


def regression_metrics(values: Values, outputs: Logits) -> dict[str, float]:
    """Pearson and Spearman correlation, root mean squared error and loss of ``outputs`` ``[N, 1]`` on ``values`` ``[N]``.

    ``loss`` is the mean squared error. A correlation with a constant is 0. Raises DataError when shapes do not fit or numbers
    are not finite.
    """
    check_values(values, outputs)
    given = outputs[:, 0].astype(np.float64)
    wanted = values.astype(np.float64)
    loss = float(np.mean((given - wanted) ** 2))
    return {
        "pearson": correlation(wanted, given),
        "spearman": correlation(_ranks(wanted), _ranks(given)),
        "rmse": float(np.sqrt(loss)),
        "loss": loss,
    }


def correlation(first: Floats, second: Floats) -> float:
    """Pearson's correlation of two arrays ``[N]``; 0 where one of them is constant."""
    return float(pearson_of_sums(pearson_features(first, second).sum(axis=0)))


def pearson_features(first: Floats, second: Floats) -> Floats:
    """Numbers of each row whose sums determine Pearson's correlation, ``[N, 6]``: 1, x, y, x², y², xy.

    Both arrays are centred first, which changes no correlation and keeps the sums exact.
    """
    x, y = first - first.mean(), second - second.mean()
    return np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)


def pearson_of_sums(sums: Floats) -> Floats:
    """Pearson's correlation from sums ``[..., 6]`` of :func:`pearson_features`; 0 without variance."""
    count, x, y, xx, yy, xy = np.moveaxis(sums, -1, 0)
    variances = np.maximum(xx - x * x / count, 0.0), np.maximum(yy - y * y / count, 0.0)
    scale = np.sqrt(variances[0]) * np.sqrt(variances[1])
    # rounding leaves a variance of some 1e-16 of the squares where all values are equal
    seen = (variances[0] > 1e-12 * xx) & (variances[1] > 1e-12 * yy)
    return np.asarray(np.where(seen, (xy - x * y / count) / np.where(seen, scale, 1.0), 0.0))


def check_values(values: Values, outputs: Logits) -> None:
    """Raise DataError unless ``values`` ``[N]`` and ``outputs`` ``[N, 1]`` are finite, with N > 0."""
    rows = len(values)
    if rows == 0:
        raise DataError("there are no rows to measure on; give at least one labelled row")
    if values.ndim != 1 or outputs.shape != (rows, 1):
        raise DataError(f"outputs have shape {outputs.shape}; {rows} rows with a number each need {(rows, 1)}")
    for name, numbers in (("label", values), ("output", outputs[:, 0])):
        if not np.isfinite(numbers).all():
            row = int(np.flatnonzero(~np.isfinite(numbers))[0])
            raise DataError(f"the {name} of row {row} is {numbers[row]}; metrics need finite numbers")


def _ranks(values: Floats) -> Floats:
    from scipy.stats import rankdata  # type: ignore[import-untyped]

    return np.asarray(rankdata(values), np.float64)
