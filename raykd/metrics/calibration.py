"""Confidence against accuracy, in bins."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

CALIBRATION_BINS = 15


@dataclass(frozen=True)
class Reliability:
    """Equal-width confidence bins: mean confidence, accuracy (both 0 where a bin is empty) and rows of each; all ``[bins]``."""

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    rows: NDArray[np.int64]

    @property
    def error(self) -> float:
        """``Σ_b (n_b / n) · |accuracy_b - confidence_b|``."""
        return float(np.abs(self.accuracy - self.confidence) @ self.rows / max(self.rows.sum(), 1))


def bin_confidence(confidence: NDArray[np.float64], correct: NDArray[np.bool_], *, bins: int) -> Reliability:
    """The bins of ``confidence`` ``[N]`` in 0..1 and of how often each was ``correct`` ``[N]``."""
    index = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    rows = np.bincount(index, minlength=bins)
    divisor = np.maximum(rows, 1)
    mean_confidence = np.bincount(index, weights=confidence, minlength=bins) / divisor
    return Reliability(mean_confidence, np.bincount(index, weights=correct, minlength=bins) / divisor, rows)


def mean_entropy(probabilities: NDArray[np.float64]) -> float:
    """Mean entropy of distributions ``[..., C]`` as a fraction of log C: 0 is certainty, 1 is no preference."""
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    return float(np.mean(-(probabilities * logs).sum(axis=-1)) / np.log(probabilities.shape[-1]))
