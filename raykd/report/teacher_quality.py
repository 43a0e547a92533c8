"""Teacher quality: accuracy and confidence on its training rows against rows it has not seen."""

import numpy as np

from raykd.metrics.arrays import Labels, Logits
from raykd.report.record import Record
from raykd.task_kinds import SINGLE_LABEL, TaskKind

ENTROPY_FLOOR = 0.1
"""Of log C; 98.7% for the first of two classes on every row has that. Below it targets at T = 1 are hard labels, or nearly."""
GAP_POINTS = 0.05
"""Accuracy on training rows above that on others. A KD student gains a few points; a teacher that owes more than that to
memory hands on labels it has learned by heart."""
LOSS_RATIO = 2.0
"""Loss on other rows over that on training rows. Equal for a calibrated teacher; twice means that its training targets
claim a certainty which it does not have elsewhere."""
LOSS_FLOOR = 0.05
"""Nats by which the losses differ at least, so that 0.002 against 0.001 is no warning. Squared errors have no such unit."""
STANDARD_ERRORS = 2.0
"""A gap on few validation rows may be chance: it counts from two standard errors on."""


class Certainty(Record):
    """A model on one set of labelled rows."""

    rows: int
    headline: float
    """Headline metric of the task."""
    standard_error: float
    """Standard error of the headline metric on so many rows."""
    loss: float
    """Mean loss: negative log likelihood in nats, or squared error."""
    entropy: float | None
    """Mean entropy of its predictions as a fraction of the largest: 0 is certainty, 1 is no preference. None where outputs are
    no probabilities."""


class TeacherQuality(Record):
    """A teacher on its training rows and on the validation rows, with what is wrong about it."""

    train: Certainty
    validation: Certainty
    warnings: tuple[str, ...]
    """One sentence each, numbers included; empty for a teacher that can teach."""


def teacher_quality(
    train_logits: Logits,
    train_labels: Labels,
    validation_logits: Logits,
    validation_labels: Labels,
    *,
    kind: TaskKind = SINGLE_LABEL,
) -> TeacherQuality:
    """Judge a teacher before KD starts. Logits ``[N, C]``, labels as a task of this ``kind`` stores them.

    Raises DataError when they do not fit.

    Soft targets teach by their information beyond the label (Hinton et al. 2015, arXiv:1503.02531 §1). A teacher that has
    memorised its training rows adds none: low entropy, a loss far below that on other rows, a gap in accuracy.
    """
    train, validation = _certainty(kind, train_logits, train_labels), _certainty(kind, validation_logits, validation_labels)
    found = (
        _one_class(kind, train_labels),
        _memory(kind, train, validation),
        _overconfidence(train, validation, floor=LOSS_FLOOR if kind.traits.takes_labels else 0.0),
        _hard_targets(train),
    )
    warnings = tuple(warning for warning in found if warning)
    # with one class everything else follows from it, and its advice would be wrong
    return TeacherQuality(train=train, validation=validation, warnings=warnings[:1] if found[0] else warnings)


def _one_class(kind: TaskKind, labels: Labels) -> str | None:
    if kind.traits.outputs != "classes" or len(np.unique(labels)) > 1:
        return None
    return f"all {len(labels)} training rows have the same label: a classifier needs several; give training rows of every class"


def _memory(kind: TaskKind, train: Certainty, validation: Certainty) -> str | None:
    gap = train.headline - validation.headline
    noise = STANDARD_ERRORS * float(np.hypot(train.standard_error, validation.standard_error))
    if gap <= max(GAP_POINTS, noise):
        return None
    metric = kind.headline
    memory = f"{100 * gap:.1f} points" if metric.percent else f"{gap:.3f}"
    return (
        f"the teacher's {metric.title} is {metric.text(train.headline)} on its training rows but "
        f"{metric.text(validation.headline)} on the validation rows: {memory} more, a "
        "sign of memorised rows; train it for fewer epochs"
    )


def _overconfidence(train: Certainty, validation: Certainty, *, floor: float) -> str | None:
    if validation.loss - train.loss <= floor or validation.loss <= LOSS_RATIO * train.loss:
        return None
    cure = "train it for fewer epochs" + (", or raise the temperature" if train.entropy is not None else "")
    claim = "is over-confident on" if train.entropy is not None else "fits too closely"
    return (
        f"the teacher {claim} its training rows: loss {train.loss:.3f} there, {validation.loss:.3f} on the "
        f"validation rows; {cure}"
    )


def _hard_targets(train: Certainty) -> str | None:
    if train.entropy is None or train.entropy >= ENTROPY_FLOOR:
        return None
    return (
        f"the teacher's targets on its training rows are nearly hard labels: entropy {train.entropy:.1%} of the possible, "
        f"little beyond the labels to learn from; raise the temperature, or train the teacher for fewer epochs"
    )


def _certainty(kind: TaskKind, logits: Logits, labels: Labels) -> Certainty:
    metrics = kind.measure(labels, logits, [str(index) for index in range(logits.shape[-1])])
    headline = metrics[kind.headline.name]
    return Certainty(
        rows=len(labels),
        headline=headline,
        standard_error=kind.standard_error(headline, len(labels)),
        loss=metrics["loss"],
        entropy=kind.entropy(logits),
    )
