"""One system of a comparison: a teacher or a student variant, trained with several seeds, measured on the same rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from raykd.metrics.arrays import Labels, Logits
from raykd.metrics.calibration import Reliability
from raykd.report.bootstrap import Verdict
from raykd.report.footprint import Footprint
from raykd.report.history import Curves
from raykd.report.latency import Latency
from raykd.report.record import Record
from raykd.report.scoring_cost import ScoringCost
from raykd.task_kinds import TaskKind

Role = Literal["teacher", "student"]
ROLES: tuple[Role, ...] = ("teacher", "student")


class Spread(Record):
    """A metric over seeds."""

    mean: float
    sd: float | None
    """Standard deviation over the seeds (n - 1); None for one seed, whose spread is unknown."""
    values: tuple[float, ...]
    """One value a seed, in the order of the system's seeds."""


class Bins(Record):
    """A reliability diagram over all seeds: equal-width confidence bins."""

    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    rows: tuple[int, ...]


class Cascade(Record):
    """A student that hands the rows it is unsure of on to the teacher; one threshold a seed, chosen on the validation rows."""

    shares: tuple[float, ...]
    """Shares of the rows handed on, 0 to 1."""
    curve: tuple[float, ...]
    """The headline metric on the validation rows at each share; mean over the seeds."""
    thresholds: tuple[float, ...]
    """Calibrated confidence below which a row goes to the teacher, one a seed."""
    escalated: Spread
    """Share of the report's rows handed on at the thresholds."""
    headline: Spread
    """The headline metric on the report's rows at the thresholds."""
    against_teacher: Verdict
    """The cascade's headline metric minus the teacher's, with its interval."""


class TrainingWork(Record):
    """The size of a student's training."""

    rows: int
    """Training rows, augmented views included."""
    labelled: int
    """Those that have a label."""
    steps: int
    """Planned optimiser steps of all its trainings, one after the other."""
    matched: bool
    """True when the steps (or epochs) are those of the longest variant; false for a length of its own."""


class System(Record):
    """One system of a report, with its metrics."""

    role: Role
    name: str
    """Name of a teacher, or of a student's variant."""
    seeds: tuple[int | None, ...]
    """Seeds of its trainings; None where it was not trained here."""
    metrics: dict[str, Spread]
    """Metrics by name; `agreement` is with the teacher."""
    retention: Spread | None = None
    """Its headline metric over the teacher's, as a fraction."""
    classes: dict[str, dict[str, float]]
    """Precision, recall, f1 and rows of each class; means over the seeds. Empty where there are no classes."""
    calibration: Bins | None
    """None where outputs are no probabilities."""
    curves: tuple[Curves, ...] = ()
    """Curves of its trainings, where a history was kept."""
    footprint: Footprint | None = None
    work: TrainingWork | None = None
    """None where it is not known."""
    latency: Latency | None = None
    cost: ScoringCost | None = None
    """Cost of scoring the report's rows with the model of the first seed."""
    cascade: Cascade | None = None
    """The student with its teacher behind it."""
    speed_up: float | None = None
    """Its throughput in batches over the teacher's."""
    latency_speed_up: float | None = None
    """The teacher's median time of a single row over its own."""


@dataclass(frozen=True)
class Task:
    """Labelled rows that systems are measured on."""

    kind: TaskKind
    labels: Labels
    label_names: tuple[str, ...]
    positive_label: str | None = None
    """Label whose F1 is `f1` for two classes; None means the second."""
    selected: bool = False
    """True for the rows of the validation set, which selected the models."""
    fingerprint: str | None = None
    """Fingerprint of the rows; equal for runs that are measured on the same rows."""
    validation_labels: Labels | None = None
    """Labels of the rows that temperatures are fitted on; None leaves calibration out."""

    @property
    def headline(self) -> str:
        """Metric of verdicts and retention."""
        return self.kind.headline.name

    def metrics(self, logits: Logits) -> dict[str, float]:
        """All metrics of one model."""
        return self.kind.measure(self.labels, logits, self.label_names, positive_label=self.positive_label)


def variant_title(name: str) -> str:
    """A variant's name in a table or sentence: ``no KD`` for ``no_kd``."""
    return " ".join("KD" if word == "kd" else word for word in name.split("_"))


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of a metric over seeds."""
    sd = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return Spread(mean=float(np.mean(values)), sd=sd, values=tuple(float(value) for value in values))


def measure(
    task: Task,
    *,
    role: Role,
    name: str,
    seeds: Sequence[int | None],
    logits: Sequence[Logits],
    teacher: Logits | None,
    temperatures: Sequence[float] = (),
    curves: Sequence[Curves] = (),
    footprint: Footprint | None = None,
    work: TrainingWork | None = None,
    latency: Latency | None = None,
    cost: ScoringCost | None = None,
) -> System:
    """The system whose models gave ``logits``, ``[N, C]`` for each seed; ``teacher`` is what students should agree with.

    ``temperatures`` were fitted on other rows, one a seed.
    """
    each = [task.metrics(one) for one in logits]
    metrics = {key: spread([metrics[key] for metrics in each]) for key in each[0]}
    if teacher is not None and role != "teacher":
        metrics["agreement"] = spread([task.kind.agreement(one, teacher) for one in logits])
    if temperatures:
        metrics |= calibration_metrics(task.kind, [task.labels] * len(logits), logits, temperatures)
    by_class = [task.kind.class_metrics(task.labels, one, task.label_names) for one in logits]
    classes = {
        label: {key: float(np.mean([metrics[label][key] for metrics in by_class])) for key in by_class[0][label]}
        for label in by_class[0]
    }
    return System(
        role=role,
        name=name,
        seeds=tuple(seeds),
        metrics=metrics,
        classes=classes,
        calibration=_pool([task.kind.reliability(task.labels, one) for one in logits]),
        curves=tuple(curves),
        footprint=footprint,
        work=work,
        latency=latency,
        cost=cost,
    )


def calibration_metrics(
    kind: TaskKind, labels: Sequence[Labels], logits: Sequence[Logits], temperatures: Sequence[float]
) -> dict[str, Spread]:
    """Calibration error of each model before and after its temperature, and the temperatures; labels and logits by model."""
    scaled = [one / temperature for one, temperature in zip(logits, temperatures, strict=True)]
    errors = {
        name: [kind.reliability(true, one) for true, one in zip(labels, outputs, strict=True)]
        for name, outputs in (("ece", logits), ("ece_calibrated", scaled))
    }
    found = {name: spread([one.error for one in each if one is not None]) for name, each in errors.items()}
    return found | {"temperature": spread(temperatures)}


def beside_teacher(system: System, teacher: System, headline: str) -> System:
    """``system`` with what it keeps of the teacher's headline metric, and how much faster it is."""
    reference = teacher.metrics[headline].mean
    kept = spread([value / reference for value in system.metrics[headline].values]) if reference > 0 else None
    update: dict[str, object] = {"retention": kept}
    if system.latency and teacher.latency:
        update["speed_up"] = system.latency.rows_per_second / teacher.latency.rows_per_second
        update["latency_speed_up"] = teacher.latency.p50_ms / system.latency.p50_ms
    return system.model_copy(update=update)


def _pool(given: Sequence[Reliability | None]) -> Bins | None:
    """One diagram for the rows of several models; None where outputs are not probabilities."""
    parts = [one for one in given if one is not None]
    if not parts:
        return None
    rows = np.sum([part.rows for part in parts], axis=0)
    divisor = np.maximum(rows, 1)
    confidence = np.sum([part.confidence * part.rows for part in parts], axis=0) / divisor
    accuracy = np.sum([part.accuracy * part.rows for part in parts], axis=0) / divisor
    return Bins(confidence=tuple(confidence.tolist()), accuracy=tuple(accuracy.tolist()), rows=tuple(rows.tolist()))
