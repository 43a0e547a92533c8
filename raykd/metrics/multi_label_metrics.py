"""Metrics of one model on multi-label rows: every label is a binary decision, at probability 0.5."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raykd.errors import DataError
from raykd.metrics.arrays import Labels, Logits
from raykd.metrics.calibration import CALIBRATION_BINS, Reliability, bin_confidence


def multi_label_metrics(targets: Labels, logits: Logits, label_names: Sequence[str]) -> dict[str, float]:
    """Exact match, macro and micro F1, macro precision and recall, AUC, loss and calibration of ``logits`` ``[N, C]``.

    ``targets`` ``[N, C]`` hold 0 and 1; a logit above 0 predicts the label. ``exact_match`` is the fraction of rows with every
    label right, ``loss`` the mean binary cross entropy in nats, ``auc`` the mean over labels that some rows have and others
    lack (0.5 when there is none). Raises DataError when shapes or values do not fit.
    """
    from sklearn.metrics import f1_score, precision_score, recall_score

    _check(targets, logits, label_names)
    predicted = decisions(logits)
    return {
        "exact_match": float(np.mean((predicted == targets).all(axis=1))),
        "macro_f1": float(f1_score(targets, predicted, average="macro", zero_division=0.0)),
        "micro_f1": float(f1_score(targets, predicted, average="micro", zero_division=0.0)),
        "macro_precision": float(precision_score(targets, predicted, average="macro", zero_division=0.0)),
        "macro_recall": float(recall_score(targets, predicted, average="macro", zero_division=0.0)),
        "auc": _area(targets, logits),
        "loss": mean_binary_loss(targets, logits),
        "ece": multi_label_reliability(targets, logits).error,
    }


def mean_binary_loss(targets: Labels, logits: Logits) -> float:
    """Mean binary cross entropy over rows and labels, nats."""
    wide = logits.astype(np.float64)
    return float(np.mean(np.logaddexp(0.0, wide) - targets * wide))


def multi_label_class_metrics(targets: Labels, logits: Logits, label_names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, f1 and rows (how many have it) of each label, by its name. Raises DataError as above."""
    from sklearn.metrics import precision_recall_fscore_support

    _check(targets, logits, label_names)
    columns = precision_recall_fscore_support(targets, decisions(logits), zero_division=0.0)
    return {
        name: dict(zip(("precision", "recall", "f1", "rows"), (float(column[index]) for column in columns), strict=True))
        for index, name in enumerate(label_names)
    }


def multi_label_reliability(targets: Labels, logits: Logits, *, bins: int = CALIBRATION_BINS) -> Reliability:
    """Confidence in the predicted yes or no, against the rate at which it was right, over all rows and labels."""
    yes = sigmoid(logits)
    confidence = np.maximum(yes, 1.0 - yes)
    return bin_confidence(confidence.ravel(), (decisions(logits) == targets).ravel(), bins=bins)


def sigmoid(logits: Logits) -> NDArray[np.float64]:
    """Probability of each label, ``[N, C]`` in float64."""
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(logits.astype(np.float64), -500, 500))))


def decisions(logits: Logits) -> NDArray[np.int64]:
    """Yes (1) or no (0) of each label, ``[N, C]``."""
    return (logits > 0).astype(np.int64)


def _area(targets: Labels, logits: Logits) -> float:
    from sklearn.metrics import roc_auc_score

    mixed = np.flatnonzero((targets.min(axis=0) == 0) & (targets.max(axis=0) == 1))
    return float(np.mean([roc_auc_score(targets[:, index], logits[:, index]) for index in mixed])) if len(mixed) else 0.5


def _check(targets: Labels, logits: Logits, label_names: Sequence[str]) -> None:
    if targets.ndim != 2 or len(targets) == 0 or targets.shape[1] != len(label_names) or logits.shape != targets.shape:
        raise DataError(
            f"targets have shape {targets.shape}, logits {logits.shape}; both need (rows, {len(label_names)}), rows > 0"
        )
    if not np.isin(targets, (0, 1)).all():
        raise DataError("targets of a multi-label task hold something else than 0 and 1")
    if not np.isfinite(logits).all():
        row = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise DataError(f"logits of row {row} are {logits[row].tolist()}; metrics need finite numbers")
