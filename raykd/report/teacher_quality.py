"""Whether a teacher has something to teach: how sure it is of the rows it was trained on, against rows it never saw."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.metrics.arrays import Labels, Logits
from raykd.metrics.multi_label_metrics import multi_label_metrics, sigmoid
from raykd.metrics.single_label_metrics import check_rows, row_losses, softmax
from raykd.report.record import Record

ENTROPY_FLOOR = 0.1
"""Of log C; 98.7% for the first of two classes on every row has that. Below it targets at T = 1 are hard labels, or nearly."""
GAP_POINTS = 0.05
"""Accuracy on training rows above that on others. A KD student gains a few points; a teacher that owes more than that to
memory hands on labels it has learned by heart."""
LOSS_RATIO = 2.0
"""Loss on other rows over that on training rows. Equal for a calibrated teacher; twice means that its training targets
claim a certainty which it does not have elsewhere."""
LOSS_FLOOR = 0.05
"""Nats by which the losses differ at least, so that 0.002 against 0.001 is no warning."""
STANDARD_ERRORS = 2.0
"""A gap on few validation rows may be chance: it counts from two standard errors on."""


class Certainty(Record):
    """A model on one set of labelled rows."""

    rows: int
    accuracy: float
    loss: float
    """Mean negative log likelihood, nats."""
    entropy: float
    """Mean entropy of its predictions as a fraction of log C: 0 is certainty, 1 is no opinion."""


class TeacherQuality(Record):
    """A teacher on its training rows and on the validation rows, with what is wrong about it."""

    train: Certainty
    validation: Certainty
    warnings: tuple[str, ...]
    """One sentence each, numbers included; empty for a teacher that can teach."""


def teacher_quality(
    train_logits: Logits, train_labels: Labels, validation_logits: Logits, validation_labels: Labels
) -> TeacherQuality:
    """Judge a teacher before KD starts. Logits ``[N, C]``, labels ``[N]``, or ``[N, C]`` of 0 and 1 for any number a row.

    With any number of labels a row is right when all are, and its loss and entropy are means over the labels.
    Raises DataError when they do not fit.

    Soft targets teach by what they say beyond the label (Hinton et al. 2015, arXiv:1503.02531 §1). A teacher that knows its
    training rows by heart says nothing beyond: low entropy, a loss far below that on other rows, a gap in accuracy.
    """
    train, validation = _certainty(train_logits, train_labels), _certainty(validation_logits, validation_labels)
    found = (_memory(train, validation), _overconfidence(train, validation), _hard_targets(train))
    return TeacherQuality(train=train, validation=validation, warnings=tuple(warning for warning in found if warning))


def _memory(train: Certainty, validation: Certainty) -> str | None:
    gap = train.accuracy - validation.accuracy
    noise = STANDARD_ERRORS * float(np.hypot(_standard_error(train), _standard_error(validation)))
    if gap <= max(GAP_POINTS, noise):
        return None
    return (
        f"the teacher is right on {train.accuracy:.1%} of its training rows but on {validation.accuracy:.1%} of the validation "
        f"rows: {100 * gap:.1f} points are memory; train it for fewer epochs"
    )


def _overconfidence(train: Certainty, validation: Certainty) -> str | None:
    if validation.loss - train.loss <= LOSS_FLOOR or validation.loss <= LOSS_RATIO * train.loss:
        return None
    return (
        f"the teacher is over-confident on its training rows: loss {train.loss:.3f} there, {validation.loss:.3f} on the "
        f"validation rows; train it for fewer epochs, or raise the temperature"
    )


def _hard_targets(train: Certainty) -> str | None:
    if train.entropy >= ENTROPY_FLOOR:
        return None
    return (
        f"the teacher's targets on its training rows are nearly hard labels: entropy {train.entropy:.1%} of the possible, "
        f"little beyond the labels to learn from; raise the temperature, or train the teacher for fewer epochs"
    )


def _standard_error(side: Certainty) -> float:
    return float(np.sqrt(side.accuracy * (1 - side.accuracy) / side.rows))


def _certainty(logits: Logits, labels: Labels) -> Certainty:
    if labels.ndim == 2:
        metrics = multi_label_metrics(labels, logits, [str(index) for index in range(logits.shape[-1])])
        return Certainty(
            rows=len(labels),
            accuracy=metrics["exact_match"],
            loss=metrics["loss"],
            entropy=float(np.mean(_entropies(np.stack([sigmoid(logits), sigmoid(-logits)], axis=-1))) / np.log(2)),
        )
    check_rows(labels, logits, [str(index) for index in range(logits.shape[-1])])
    return Certainty(
        rows=len(labels),
        accuracy=float(np.mean(logits.argmax(axis=1) == labels)),
        loss=float(row_losses(labels, logits).mean()),
        entropy=float(_entropies(softmax(logits)).mean() / np.log(logits.shape[1])),
    )


def _entropies(probabilities: NDArray[Any]) -> NDArray[Any]:
    logs = np.log(np.where(probabilities > 0, probabilities, 1.0))
    return np.asarray(-(probabilities * logs).sum(axis=-1))
