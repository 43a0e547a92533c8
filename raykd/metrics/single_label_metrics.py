"""Classification metrics of one model on rows with one label each.

Those of an evaluation during training need numpy alone: a worker would import scikit-learn for more than a second.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from raykd.errors import ConfigError, DataError
from raykd.metrics.arrays import Labels, Logits
from raykd.metrics.calibration import CALIBRATION_BINS, Reliability, bin_confidence
from raykd.metrics.class_counts import accuracy, class_counts, correlation, f1_of, macro_f1


def classification_metrics(
    labels: Labels, logits: Logits, label_names: Sequence[str], *, positive_label: str | None = None
) -> dict[str, float]:
    """Accuracy, F1, MCC, AUC, loss and calibration of ``logits`` ``[N, C]`` on ``labels`` ``[N]``; all but mcc, loss in 0..1.

    ``f1`` is that of ``positive_label`` (none: the second name) and is there for two classes only. With one class in
    ``labels``, ``auc`` is 0.5 and ``mcc`` 0: no ranking and no correlation can be seen. ``loss`` is the mean negative log
    likelihood in nats. Raises DataError when shapes, label ids or values do not fit; ConfigError for an unknown positive label.
    """
    positive = positive_index(label_names, positive_label)
    check_rows(labels, logits, label_names)
    counts = class_counts(labels, logits.argmax(axis=1), len(label_names))
    metrics = {"accuracy": float(accuracy(counts))}
    if len(label_names) == 2:
        metrics["f1"] = float(f1_of(positive)(counts))
    metrics["macro_f1"] = float(macro_f1(counts))
    metrics["micro_f1"] = metrics["accuracy"]  # every row has one label and one prediction
    metrics["mcc"] = correlation(counts)
    metrics["auc"] = _area(labels, logits)
    metrics["loss"] = float(row_losses(labels, logits).mean())
    metrics["ece"] = expected_calibration_error(labels, logits)
    return metrics


def class_metrics(labels: Labels, logits: Logits, label_names: Sequence[str]) -> dict[str, dict[str, float]]:
    """Precision, recall, f1 and rows (how many have that label) of each class, by its name. Raises DataError as above."""
    from sklearn.metrics import precision_recall_fscore_support

    check_rows(labels, logits, label_names)
    every = np.arange(len(label_names))
    columns = precision_recall_fscore_support(labels, logits.argmax(axis=1), labels=every, zero_division=0.0)
    return {
        name: dict(zip(("precision", "recall", "f1", "rows"), (float(column[index]) for column in columns), strict=True))
        for index, name in enumerate(label_names)
    }


def agreement(student_logits: Logits, teacher_logits: Logits) -> float:
    """Fraction of rows on which two models ``[N, C]`` predict the same class. Raises DataError when the shapes differ."""
    if student_logits.shape != teacher_logits.shape:
        raise DataError(
            f"logits of shape {student_logits.shape} and {teacher_logits.shape} are not of the same rows and classes"
        )
    return float(np.mean(student_logits.argmax(axis=1) == teacher_logits.argmax(axis=1)))


def expected_calibration_error(labels: Labels, logits: Logits, *, bins: int = CALIBRATION_BINS) -> float:
    """Mean gap between confidence and accuracy, weighted by rows; Guo et al. 2017, arXiv:1706.04599 eq. 3."""
    return reliability(labels, logits, bins=bins).error


def reliability(labels: Labels, logits: Logits, *, bins: int = CALIBRATION_BINS) -> Reliability:
    """Confidence (largest probability) against accuracy in ``bins`` equal bins ``((b-1)/bins, b/bins]``; Guo et al. 2017 §2."""
    return bin_confidence(softmax(logits).max(axis=1), logits.argmax(axis=1) == labels, bins=bins)


def row_losses(labels: Labels, logits: Logits) -> NDArray[np.float64]:
    """Negative log likelihood of the label, nats, ``[N]``; finite for any finite logits."""
    shifted = _shifted(logits)
    return np.asarray(np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels])


def softmax(logits: Logits) -> NDArray[np.float64]:
    """Probabilities ``[N, C]`` in float64."""
    odds = np.exp(_shifted(logits))
    return np.asarray(odds / odds.sum(axis=1, keepdims=True))


def positive_index(label_names: Sequence[str], positive_label: str | None) -> int:
    """Id of the positive label; None is the second label, as in EasyNLP. Raises ConfigError for an unknown label."""
    if positive_label is None:
        return 1
    if positive_label not in label_names:
        raise ConfigError(
            f"positive label {positive_label!r} is not one of the labels ({', '.join(label_names)}); name one of them"
        )
    return list(label_names).index(positive_label)


def check_rows(labels: Labels, logits: Logits, label_names: Sequence[str]) -> None:
    """Raise DataError unless ``labels`` ``[N]`` are ids of ``label_names`` and ``logits`` ``[N, C]`` are finite, with N > 0."""
    rows, classes = len(labels), len(label_names)
    if rows == 0:
        raise DataError("there are no rows to measure on; give at least one labelled row")
    if logits.shape != (rows, classes):
        raise DataError(f"logits have shape {logits.shape}; {rows} rows with {classes} labels need {(rows, classes)}")
    if labels.ndim != 1 or labels.min() < 0 or labels.max() >= classes:
        raise DataError(f"label ids reach from {labels.min()} to {labels.max()}; {classes} labels have ids 0 to {classes - 1}")
    if not np.isfinite(logits).all():
        row = int(np.flatnonzero(~np.isfinite(logits).all(axis=1))[0])
        raise DataError(f"logits of row {row} are {logits[row].tolist()}; metrics need finite numbers")


def _area(labels: Labels, logits: Logits) -> float:
    """Area under the ROC curve: of the second class for two, else the mean of one against the rest over classes seen.

    Rows are ranked by the log odds of a class, not by its probability: ``softmax`` rounds large margins to one and the same 1.
    """
    classes = [1] if logits.shape[1] == 2 else list(range(logits.shape[1]))
    odds = _log_odds(logits)
    areas = [_two_class_area(labels == index, odds[:, index]) for index in classes if 0 < np.sum(labels == index) < len(labels)]
    return float(np.mean(areas)) if areas else 0.5


def _two_class_area(positive: NDArray[np.bool_], scores: NDArray[np.float64]) -> float:
    """Fraction of pairs of a positive and another row in which the positive has the higher score; equal scores count half."""
    _, place, repeats = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(repeats) - (repeats - 1) / 2)[place]  # of equal scores, their mean rank; from 1
    count = int(positive.sum())
    return float((ranks[positive].sum() - count * (count + 1) / 2) / (count * (len(scores) - count)))


def _log_odds(logits: Logits) -> NDArray[np.float64]:
    """``log p_c / (1 - p_c) = z_c - log Σ_{k ≠ c} exp z_k``, ``[N, C]``.

    The sum is ``(1 - p_c) Σ_k exp z_k``, which is exact enough for ``p_c`` up to a half; the largest class is summed around.
    """
    shifted = _shifted(logits)
    rows, largest = np.arange(len(shifted)), shifted.argmax(axis=1)
    exponentials = np.exp(shifted)
    total = exponentials.sum(axis=1, keepdims=True)
    others = np.log(total) + np.log1p(-np.minimum(exponentials / total, 0.5))
    shifted_without = shifted.copy()
    shifted_without[rows, largest] = -np.inf
    others[rows, largest] = np.logaddexp.reduce(shifted_without, axis=1)
    return np.asarray(shifted - others)


def _shifted(logits: Logits) -> NDArray[np.float64]:
    wide = logits.astype(np.float64)
    return np.asarray(wide - wide.max(axis=1, keepdims=True))
