"""Pairs of systems that are compared, and the conclusion in sentences."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.config.student import KD, NO_KD
from raykd.metrics.metric import Metric
from raykd.metrics.resampling import ClassCountMetric, Resampled, RowMean
from raykd.report.bootstrap import REPLICATES, Verdict, compare_moments, compare_predictions, paired_bootstrap
from raykd.report.record import Record
from raykd.report.system import System, Task, variant_title

FEW_REPLICATES = 2_000
"""Replicates for metrics that cost more than accuracy: counts of all classes or all rows; the ends still hold to 0.1 sd."""
SEVERAL = 3
"""Number of verdicts from which a report says that one may be wrong by chance; of more, it shows a table, not sentences."""


class SystemContrast(Record):
    """A verdict on one metric of two systems, each given by its position in the comparison."""

    metric: str
    candidate: int
    reference: int
    result: Verdict


def contrasts(
    task: Task,
    systems: Sequence[System],
    logits: Sequence[Sequence[NDArray[Any]]],
    *,
    against: str | None = None,
    replicates: int = REPLICATES,
) -> tuple[SystemContrast, ...]:
    """Students against the first of them, against the student named ``against``, and against the teacher.

    ``logits`` hold those of each system's seeds, ``[N, C]``.
    """
    metrics = task.kind.resampled(task.label_names, positive_label=task.positive_label)
    found = []
    for candidate, reference in _pairs(systems, against):
        for name, metric in metrics.items():
            pair = logits[candidate], logits[reference]
            verdict = judge(task.labels, *pair, metric, replicates=replicates)
            if task.kind.smaller_is_better(name):
                verdict = verdict.reversed()
            found.append(SystemContrast(metric=name, candidate=candidate, reference=reference, result=verdict))
    return tuple(found)


def judge(
    labels: NDArray[Any],
    candidate: Sequence[NDArray[Any]],
    reference: Sequence[NDArray[Any]],
    metric: Resampled,
    *,
    replicates: int = REPLICATES,
) -> Verdict:
    """Bootstrap of a metric where larger is better. ``candidate`` and ``reference`` are the logits of each seed."""
    few = min(replicates, FEW_REPLICATES)
    pair = candidate, reference
    if isinstance(metric, RowMean):
        right = [np.stack([metric.correct(labels, one) for one in logits]) for logits in pair]
        return paired_bootstrap(right[0], right[1], replicates=replicates)
    if isinstance(metric, ClassCountMetric):
        said = [np.stack([one.argmax(axis=1) for one in logits]) for logits in pair]
        classes = candidate[0].shape[1]
        return compare_predictions(labels, said[0], said[1], statistic=metric.statistic, classes=classes, replicates=few)
    features = [[metric.features(labels, one) for one in logits] for logits in pair]
    return compare_moments(features[0], features[1], statistic=metric.statistic, replicates=few)


def student_contrasts(systems: Sequence[System], found: Sequence[SystemContrast], headline: str) -> tuple[SystemContrast, ...]:
    """The contrasts of two students by the headline metric."""
    return tuple(one for one in found if one.metric == headline and systems[one.reference].role == "student")


def conclusion(task: Task, systems: Sequence[System], found: Sequence[SystemContrast]) -> tuple[str, ...]:
    """The differences between students in plain sentences, all verdicts first."""
    judged = student_contrasts(systems, found, task.headline)
    students = [system for system in systems if system.role == "student"]
    if judged:
        lines = [_sentence(task, systems, one) for one in judged]
        lines += [chance(len(judged))] if len(judged) == SEVERAL else []  # of more, it stands beside the separable ones
        lines += spread_caveats([one.result for one in judged])
    else:
        missing = "there is one student only; add another to student.variants" if students else "there is no student"
        lines = [f"No verdict: {missing}."]
    for system in (students[1:] or students) if len(judged) <= SEVERAL else ():  # of more, the main table says it
        lines += _kept(system, task.kind.headline, who=_student(system, several=len(students) > 2))
    return tuple(lines)


def _student(system: System, *, several: bool) -> str:
    """Subject of a sentence about one of ``several`` students, or about the only one that is not the baseline."""
    return f"The student {variant_title(system.name)}" if several or system.name != KD else "The student with KD"


def _sentence(task: Task, systems: Sequence[System], contrast: SystemContrast) -> str:
    result, metric = contrast.result, task.kind.headline
    candidate, reference = systems[contrast.candidate], systems[contrast.reference]
    ours, theirs = (metric.text(one.metrics[contrast.metric].mean) for one in (candidate, reference))
    if (candidate.name, reference.name) == (KD, NO_KD):
        claims = {"better": "KD helps", "worse": "KD hurts", "not separable": "KD has no measurable effect on these rows"}
        means = f"{ours} with it, {theirs} without"
    else:
        first, second = variant_title(candidate.name), variant_title(reference.name)
        claims = {one: f"{first} is {one} than {second}" for one in ("better", "worse")}
        claims["not separable"] = f"{first} and {second} are not separable on these rows"
        means = f"{ours} against {theirs}"
    steps = f"; {other} optimiser steps" if (other := other_steps(candidate, reference)) else ""
    low, high, unit = metric.difference(result.low), metric.difference(result.high), " points" if metric.percent else ""
    return (
        f"{claims[result.verdict]}: {metric.title} {means}: "
        f"{metric.difference(result.difference)}{unit}, 95% interval {low} to {high} "
        f"({result.wording}; {_scope(task, result)}{steps})."
    )


def other_steps(candidate: System, reference: System) -> str:
    """The optimiser steps of two students where they differ, to which a difference may be due; else an empty string."""
    if candidate.work is None or reference.work is None or candidate.work.steps == reference.work.steps:
        return ""
    return f"{candidate.work.steps:,} against {reference.work.steps:,}"


def chance(count: int) -> str:
    """Caveat about several verdicts at once."""
    return f"Each of the {count} intervals holds at 95% by itself; of so many verdicts one may well be wrong by chance."


def _scope(task: Task, result: Verdict) -> str:
    """The rows and trainings that a verdict covers; the interval does not cover other teachers."""
    rows = _rows(result.rows) + " of the validation set, which also selected the models" * task.selected
    return f"{rows}, {seeds_text(result)}, this teacher"


def _rows(number: int) -> str:
    return f"{number:,} row{'s' if number != 1 else ''}"


def seeds_text(result: Verdict) -> str:
    """The trainings behind a verdict."""
    if result.candidate_seeds == result.reference_seeds:
        return f"{result.candidate_seeds} seed{'s' if result.candidate_seeds > 1 else ''} each"
    return f"{result.candidate_seeds} and {result.reference_seeds} seeds"


def spread_caveats(results: Sequence[Verdict], seeds: str = "student.seeds") -> list[str]:
    """Caveat about few seeds, whose number the setting ``seeds`` gives; none from three on."""
    fewest = min(min(one.candidate_seeds, one.reference_seeds) for one in results)
    if fewest == 1:
        return [
            "One seed does not show how much trainings differ: the spread is unknown and the interval covers the rows only; "
            f"set {seeds} to three or more."
        ]
    if fewest == 2:
        return [f"Two seeds show little of how much trainings differ, so the interval is rough; set {seeds} to three or more."]
    return []


def _kept(system: System, headline: Metric, *, who: str) -> list[str]:
    if system.retention is None:
        return []
    speed = f" at {system.speed_up:.1f} times its speed" if system.speed_up is not None else ""
    return [f"{who} keeps {system.retention.mean:.1%} of this teacher's {headline.title}{speed}."]


def _pairs(systems: Sequence[System], against: str | None) -> list[tuple[int, int]]:
    """Positions of candidate and reference: baseline, the one named, teacher."""
    students = [index for index, system in enumerate(systems) if system.role == "student"]
    teachers = [index for index, system in enumerate(systems) if system.role == "teacher"]
    baseline, others = students[:1], students[1:]
    named = [index for index in others if systems[index].name == against]
    pairs = [(student, reference) for reference in (*baseline, *named) for student in others if student != reference]
    return pairs + [(student, teachers[0]) for student in others + baseline if teachers]
