"""Pairs of systems that are compared, and the conclusion in sentences."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.metrics.metric import Metric
from raykd.metrics.resampling import ClassCountMetric, Resampled, RowMean
from raykd.report.bootstrap import REPLICATES, Verdict, compare_moments, compare_predictions, paired_bootstrap
from raykd.report.record import Record
from raykd.report.system import System, Task

FEW_REPLICATES = 2_000
"""Replicates for metrics that cost more than accuracy: counts of all classes or all rows; the ends still hold to 0.1 sd."""


class SystemContrast(Record):
    """A verdict on one metric of two systems, each given by its position in the comparison."""

    metric: str
    candidate: int
    reference: int
    result: Verdict


def contrasts(
    task: Task, systems: Sequence[System], logits: Sequence[Sequence[NDArray[Any]]], *, seed: int, replicates: int = REPLICATES
) -> tuple[SystemContrast, ...]:
    """Students with KD against the first one without and against the teacher; the one without against the teacher.

    ``logits`` hold those of each system's seeds, ``[N, C]``.
    """
    metrics = task.kind.resampled(task.label_names, positive_label=task.positive_label)
    found = []
    for candidate, reference in _pairs(systems):
        for name, metric in metrics.items():
            pair = logits[candidate], logits[reference]
            verdict = judge(task.labels, *pair, metric, seed=seed, replicates=replicates)
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
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Verdict:
    """Bootstrap of a metric where larger is better. ``candidate`` and ``reference`` are the logits of each seed."""
    few = min(replicates, FEW_REPLICATES)
    pair = candidate, reference
    if isinstance(metric, RowMean):
        right = [np.stack([metric.correct(labels, one) for one in logits]) for logits in pair]
        return paired_bootstrap(right[0], right[1], seed=seed, replicates=replicates)
    if isinstance(metric, ClassCountMetric):
        said = [np.stack([one.argmax(axis=1) for one in logits]) for logits in pair]
        return compare_predictions(labels, said[0], said[1], statistic=metric.statistic, seed=seed, replicates=few)
    features = [[metric.features(labels, one) for one in logits] for logits in pair]
    return compare_moments(features[0], features[1], statistic=metric.statistic, seed=seed, replicates=few)


def conclusion(task: Task, systems: Sequence[System], found: Sequence[SystemContrast]) -> tuple[str, ...]:
    """The effect of KD in plain sentences, the verdict first."""
    lines = []
    distilled = [index for index, system in enumerate(systems) if system.role == "student_kd"]
    several = len(distilled) > 1
    for index in distilled:
        mine = [one for one in found if one.candidate == index and one.metric == task.headline]
        baseline = next((one for one in mine if systems[one.reference].role == "student_no_kd"), None)
        who = f"KD ({systems[index].name})" if several else "KD"
        if baseline is None:
            lines.append(f"No verdict on {who}: there is no student without KD to compare with; add one to student.variants.")
        else:
            lines += [_sentence(who, task, systems, baseline), *_unknown_spread(baseline.result)]
        lines += _kept(systems[index], task.kind.headline, who=systems[index].name if several else "The student with KD")
    if not distilled:
        lines.append("No verdict: there is no student with KD in this comparison.")
    return tuple(lines)


def _sentence(who: str, task: Task, systems: Sequence[System], contrast: SystemContrast) -> str:
    result, metric = contrast.result, task.kind.headline
    with_kd, without = (systems[index].metrics[contrast.metric].mean for index in (contrast.candidate, contrast.reference))
    claim = {
        "better": f"{who} helps",
        "worse": f"{who} hurts",
        "not separable": f"{who} has no measurable effect on these rows",
    }[result.verdict]
    low, high, unit = metric.difference(result.low), metric.difference(result.high), " points" if metric.percent else ""
    return (
        f"{claim}: {metric.title} {metric.text(with_kd)} with it, {metric.text(without)} without: "
        f"{metric.difference(result.difference)}{unit}, 95% interval {low} to {high} "
        f"({result.verdict}; {_scope(task, result)})."
    )


def _scope(task: Task, result: Verdict) -> str:
    """The rows and trainings that a verdict covers; the interval does not cover other teachers."""
    rows = f"{result.rows:,} rows" + " of the validation set, which also selected the models" * task.selected
    return f"{rows}, {_seeds(result)}, this teacher"


def _seeds(result: Verdict) -> str:
    if result.candidate_seeds == result.reference_seeds:
        return f"{result.candidate_seeds} seed{'s' if result.candidate_seeds > 1 else ''} each"
    return f"{result.candidate_seeds} and {result.reference_seeds} seeds"


def _unknown_spread(result: Verdict) -> list[str]:
    fewest = min(result.candidate_seeds, result.reference_seeds)
    if fewest == 1:
        return [
            "One seed does not show how much trainings differ: the spread is unknown and the interval covers the rows only; "
            "set student.seeds to three or more."
        ]
    if fewest == 2:
        return [
            "Two seeds show little of how much trainings differ, so the interval is rough; set student.seeds to three or more."
        ]
    return []


def _kept(system: System, headline: Metric, *, who: str) -> list[str]:
    if system.retention is None:
        return []
    speed = f" at {system.speed_up:.1f} times its speed" if system.speed_up is not None else ""
    return [f"{who} keeps {system.retention.mean:.1%} of this teacher's {headline.title}{speed}."]


def _pairs(systems: Sequence[System]) -> list[tuple[int, int]]:
    by_role = {role: [index for index, system in enumerate(systems) if system.role == role] for role in _roles(systems)}
    students, baselines, teachers = (by_role.get(role, []) for role in ("student_kd", "student_no_kd", "teacher"))
    against_baseline = [(student, baselines[0]) for student in students if baselines]
    return against_baseline + [(student, teachers[0]) for student in students + baselines if teachers]


def _roles(systems: Sequence[System]) -> Mapping[str, None]:
    return dict.fromkeys(system.role for system in systems)
