"""One system of a comparison: the models of one role trained with several seeds, measured on the same rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from raykd.metrics.arrays import Labels, Logits
from raykd.metrics.calibration import Reliability
from raykd.metrics.multi_label_metrics import decisions, multi_label_class_metrics, multi_label_metrics, multi_label_reliability
from raykd.metrics.single_label_metrics import agreement, class_metrics, classification_metrics, reliability
from raykd.report.footprint import Footprint
from raykd.report.history import Curves
from raykd.report.latency import Latency
from raykd.report.record import Record

Role = Literal["teacher", "student_no_kd", "student_kd"]
ROLES: tuple[Role, ...] = ("teacher", "student_no_kd", "student_kd")


class Spread(Record):
    """A figure over seeds."""

    mean: float
    sd: float | None
    """Standard deviation over the seeds (n - 1); none for one seed, whose spread is unknown."""
    values: tuple[float, ...]
    """One value a seed, in the order of the system's seeds."""


class Bins(Record):
    """A reliability diagram over all seeds: equal-width confidence bins."""

    confidence: tuple[float, ...]
    accuracy: tuple[float, ...]
    rows: tuple[int, ...]


class System(Record):
    """A system with everything that a report says of it alone."""

    role: Role
    name: str
    """Which, where several systems have one role."""
    seeds: tuple[int | None, ...]
    """Seeds of its trainings; None where it was not trained here."""
    metrics: dict[str, Spread]
    """Metrics by name; `agreement` is with the teacher."""
    retention: Spread | None = None
    """Its headline metric over the teacher's, as a fraction."""
    classes: dict[str, dict[str, float]]
    """Precision, recall, f1 and rows of each class; means over the seeds."""
    calibration: Bins
    curves: tuple[Curves, ...] = ()
    """How its trainings went, where a history was kept."""
    footprint: Footprint | None = None
    latency: Latency | None = None
    speed_up: float | None = None
    """Its throughput in batches over the teacher's."""
    latency_speed_up: float | None = None
    """The teacher's median time of a single row over its own."""


@dataclass(frozen=True)
class Task:
    """What is measured: label ids ``[N]`` of rows with one label, or 0 and 1 ``[N, C]`` of rows with any number."""

    labels: Labels
    label_names: tuple[str, ...]
    positive_label: str | None = None
    """Whose F1 is `f1` for two classes; none is the second."""

    @property
    def multi_label(self) -> bool:
        """Whether a row may have any number of labels."""
        return self.labels.ndim == 2

    @property
    def headline(self) -> str:
        """The metric that verdicts and retention are about."""
        return "exact_match" if self.multi_label else "accuracy"

    @property
    def f1(self) -> str:
        """The F1 that goes into the table."""
        return "f1" if len(self.label_names) == 2 and not self.multi_label else "macro_f1"

    def metrics(self, logits: Logits) -> dict[str, float]:
        """All metrics of one model."""
        if self.multi_label:
            return multi_label_metrics(self.labels, logits, self.label_names)
        return classification_metrics(self.labels, logits, self.label_names, positive_label=self.positive_label)

    def classes(self, logits: Logits) -> dict[str, dict[str, float]]:
        """Metrics of one model by class."""
        measure = multi_label_class_metrics if self.multi_label else class_metrics
        return measure(self.labels, logits, self.label_names)

    def reliability(self, logits: Logits) -> Reliability:
        """Confidence bins of one model."""
        return multi_label_reliability(self.labels, logits) if self.multi_label else reliability(self.labels, logits)

    def agreement(self, logits: Logits, teacher: Logits) -> float:
        """Fraction of rows on which two models say the same."""
        if self.multi_label:
            return float(np.mean((decisions(logits) == decisions(teacher)).all(axis=1)))
        return agreement(logits, teacher)

    def majority(self) -> float:
        """The headline metric of a model that gives every row the commonest answer."""
        if self.multi_label:
            _, counts = np.unique(self.labels, axis=0, return_counts=True)
        else:
            counts = np.bincount(self.labels)
        return float(counts.max() / len(self.labels))


def spread(values: Sequence[float]) -> Spread:
    """Mean and standard deviation of one figure over seeds."""
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
    curves: Sequence[Curves] = (),
    footprint: Footprint | None = None,
    latency: Latency | None = None,
) -> System:
    """The system whose models gave ``logits``, ``[N, C]`` for each seed; ``teacher`` is what students should agree with."""
    each = [task.metrics(one) for one in logits]
    metrics = {key: spread([figures[key] for figures in each]) for key in each[0]}
    if teacher is not None and role != "teacher":
        metrics["agreement"] = spread([task.agreement(one, teacher) for one in logits])
    by_class = [task.classes(one) for one in logits]
    classes = {
        label: {key: float(np.mean([figures[label][key] for figures in by_class])) for key in by_class[0][label]}
        for label in task.label_names
    }
    return System(
        role=role,
        name=name,
        seeds=tuple(seeds),
        metrics=metrics,
        classes=classes,
        calibration=_pool([task.reliability(one) for one in logits]),
        curves=tuple(curves),
        footprint=footprint,
        latency=latency,
    )


def beside_teacher(system: System, teacher: System, headline: str) -> System:
    """``system`` with what it keeps of the teacher's headline metric, and how much faster it is."""
    reference = teacher.metrics[headline].mean
    kept = spread([value / reference for value in system.metrics[headline].values]) if reference > 0 else None
    update: dict[str, object] = {"retention": kept}
    if system.latency and teacher.latency:
        update["speed_up"] = system.latency.rows_per_second / teacher.latency.rows_per_second
        update["latency_speed_up"] = teacher.latency.p50_ms / system.latency.p50_ms
    return system.model_copy(update=update)


def _pool(parts: Sequence[Reliability]) -> Bins:
    """One diagram for the rows of several models."""
    rows = np.sum([part.rows for part in parts], axis=0)
    divisor = np.maximum(rows, 1)
    confidence = np.sum([part.confidence * part.rows for part in parts], axis=0) / divisor
    accuracy = np.sum([part.accuracy * part.rows for part in parts], axis=0) / divisor
    return Bins(confidence=tuple(confidence.tolist()), accuracy=tuple(accuracy.tolist()), rows=tuple(rows.tolist()))
