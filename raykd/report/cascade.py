"""Cascades: the student answers the rows it is sure of, the teacher the others."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.metrics.resampling import RowMean
from raykd.report.bootstrap import REPLICATES, paired_bootstrap
from raykd.report.system import Cascade, System, Task, spread

SHARES = tuple(round(0.05 * step, 2) for step in range(21))
"""Shares of the rows in the curve of a cascade."""
MARGIN = 0.003
"""Loss against the teacher on the validation rows that a threshold may cost: 0.3 points."""
LEAST_SHARE = 0.1
"""Share of the validation rows that a threshold hands on at least. A student that is as good as its teacher on rows like those
of its training may still be worse on others: of SST-2, phrases are the former, sentences the latter."""


@dataclass(frozen=True)
class CascadeRows:
    """Rows that a student and its teacher answered: all arrays ``[N]``."""

    confidence: NDArray[np.float64]
    """The student's probability of its answer."""
    student: NDArray[np.bool_]
    """True where the student is right."""
    teacher: NDArray[np.bool_]
    """True where the teacher is right."""

    def right(self, threshold: float) -> NDArray[np.bool_]:
        """True where the cascade is right: the teacher answers rows whose confidence is below the threshold."""
        return np.where(self.confidence < threshold, self.teacher, self.student)

    def share(self, threshold: float) -> float:
        """Fraction of the rows that go to the teacher."""
        return float(np.mean(self.confidence < threshold))

    def curve(self, shares: Sequence[float]) -> list[float]:
        """Accuracy when that share of the rows, the least confident ones, goes to the teacher."""
        right = self._right_by_count()
        return [float(right[round(share * len(self.confidence))]) for share in shares]

    def choose(self, margin: float, *, least_share: float = 0.0) -> float:
        """The threshold that hands on the fewest rows and loses at most ``margin`` of the teacher's accuracy.

        It hands on ``least_share`` of the rows at least. Thresholds lie between different confidences. All rows go to the
        teacher where nothing less is enough.
        """
        ordered = np.sort(self.confidence)
        cuts = np.append(ordered, np.nextafter(ordered[-1], np.inf))
        counts = np.searchsorted(ordered, cuts)  # rows below each cut
        enough = self._right_by_count()[counts] >= self.teacher.mean() - margin - 1e-12
        enough &= counts >= least_share * len(ordered) - 1e-9
        return float(cuts[np.flatnonzero(enough)[0]])

    def _right_by_count(self) -> NDArray[np.float64]:
        """Accuracy by the number of rows that go to the teacher, ``[N + 1]``."""
        order = np.argsort(self.confidence, kind="stable")
        gain = self.teacher[order].astype(np.int64) - self.student[order]
        return np.asarray((self.student.sum() + np.concatenate([[0], np.cumsum(gain)])) / len(order))


def with_cascades(
    task: Task,
    systems: Sequence[System],
    logits: Sequence[Sequence[NDArray[Any]]],
    validation: Sequence[Sequence[NDArray[Any]]],
    *,
    replicates: int = REPLICATES,
) -> list[System]:
    """The systems, with each student's cascade where there is one teacher and a metric of right and wrong rows.

    ``logits`` are those on the report's rows by system and seed, ``validation`` those on the validation rows, empty where a
    system has none. Thresholds are chosen on the validation rows and measured on the report's.
    """
    validation_labels = task.validation_labels
    metric = next(iter(task.kind.resampled(task.label_names, positive_label=task.positive_label).values()))
    teachers = [index for index, system in enumerate(systems) if system.role == "teacher"]
    if len(teachers) != 1 or not isinstance(metric, RowMean) or validation_labels is None or not validation[teachers[0]]:
        return list(systems)
    teacher = teachers[0]
    made = []
    for index, system in enumerate(systems):
        if index == teacher or not validation[index]:
            made.append(system)
            continue
        temperatures = system.metrics["temperature"].values
        pairs = zip(logits[index], validation[index], temperatures, strict=True)
        held_out, seen = [], []
        for tested, validated, temperature in pairs:
            held_out.append(_rows(task, metric, task.labels, tested / temperature, logits[teacher][0]))
            seen.append(_rows(task, metric, validation_labels, validated / temperature, validation[teacher][0]))
        cascade = _measure(seen, held_out, replicates=replicates)
        made.append(system.model_copy(update={"cascade": cascade}))
    return made


def _rows(task: Task, metric: RowMean, labels: NDArray[Any], student: NDArray[Any], teacher: NDArray[Any]) -> CascadeRows:
    confidence = task.kind.confidence(student)
    assert confidence is not None, "a system with a temperature has probabilities"
    return CascadeRows(confidence, metric.correct(labels, student), metric.correct(labels, teacher))


def _measure(seen: Sequence[CascadeRows], held_out: Sequence[CascadeRows], *, replicates: int) -> Cascade:
    """One cascade a seed: thresholds from the rows ``seen``, the result on the rows ``held_out``."""
    thresholds = [rows.choose(MARGIN, least_share=LEAST_SHARE) for rows in seen]
    right = [rows.right(threshold) for rows, threshold in zip(held_out, thresholds, strict=True)]
    return Cascade(
        shares=SHARES,
        curve=tuple(np.mean([rows.curve(SHARES) for rows in seen], axis=0).tolist()),
        thresholds=tuple(thresholds),
        escalated=spread([rows.share(threshold) for rows, threshold in zip(held_out, thresholds, strict=True)]),
        headline=spread([float(one.mean()) for one in right]),
        against_teacher=paired_bootstrap(np.stack(right), held_out[0].teacher, replicates=replicates),
    )
