"""Who is compared with whom, and the sentence that says what came out."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.metrics.multi_label_metrics import decisions
from raykd.metrics.single_label_metrics import positive_index
from raykd.report.bootstrap import REPLICATES, Statistic, Verdict, compare_predictions, f1_of, macro_f1, paired_bootstrap
from raykd.report.record import Record
from raykd.report.system import System, Task

METRIC_NAMES = {"accuracy": "accuracy", "exact_match": "exact match", "f1": "F1", "macro_f1": "macro F1"}
F1_REPLICATES = 2_000
"""Fewer than for accuracy: with many classes a replicate is a whole confusion matrix; the ends still hold to 0.1 sd."""


class Contrast(Record):
    """A verdict on one metric of two systems, each named by its place in the comparison."""

    metric: str
    candidate: int
    reference: int
    result: Verdict


def contrasts(
    task: Task, systems: Sequence[System], predictions: Sequence[NDArray[Any]], *, seed: int, replicates: int = REPLICATES
) -> tuple[Contrast, ...]:
    """Students with KD against the first one without and against the teacher; the one without against the teacher.

    ``predictions`` hold each system's logits ``[S, N, C]`` turned into answers (:func:`answers`).
    """
    found = []
    for candidate, reference in _pairs(systems):
        for metric, statistic in _statistics(task).items():
            verdict = _verdict(
                task, predictions[candidate], predictions[reference], statistic, seed=seed, replicates=replicates
            )
            found.append(Contrast(metric=metric, candidate=candidate, reference=reference, result=verdict))
    return tuple(found)


def answers(task: Task, logits: NDArray[Any]) -> NDArray[np.int64]:
    """From logits ``[N, C]`` what bootstrap resamples, ``[N]``: the class, or for many labels whether all are right."""
    if task.multi_label:
        return np.asarray((decisions(logits) == task.labels).all(axis=1), dtype=np.int64)
    return np.asarray(logits.argmax(axis=1), dtype=np.int64)


def conclusion(task: Task, systems: Sequence[System], found: Sequence[Contrast]) -> tuple[str, ...]:
    """What the comparison says about KD in plain sentences, the verdict first."""
    lines = []
    distilled = [index for index, system in enumerate(systems) if system.role == "student_kd"]
    several = len(distilled) > 1
    for index in distilled:
        mine = [one for one in found if one.candidate == index and one.metric == task.headline]
        baseline = next((one for one in mine if systems[one.reference].role == "student_no_kd"), None)
        who = f"KD ({systems[index].name})" if several else "KD"
        if baseline is None:
            lines.append(f"No verdict on {who}: there is no student without KD to compare with; set student.baseline to true.")
        else:
            lines += [_sentence(who, systems, baseline), *_unknown_spread(baseline.result)]
        lines += _kept(systems[index], task.headline, who=systems[index].name if several else "The student with KD")
    if not distilled:
        lines.append("No verdict: there is no student with KD in this comparison.")
    return tuple(lines)


def _sentence(who: str, systems: Sequence[System], contrast: Contrast) -> str:
    result, metric = contrast.result, METRIC_NAMES[contrast.metric]
    with_kd, without = (systems[place].metrics[contrast.metric].mean for place in (contrast.candidate, contrast.reference))
    claim = {
        "better": f"{who} helps",
        "worse": f"{who} hurts",
        "not separable": f"{who} does not help as far as these rows can tell",
    }[result.verdict]
    return (
        f"{claim}: {metric} {with_kd:.1%} with it, {without:.1%} without: {points(result.difference)} points, "
        f"95% interval {points(result.low)} to {points(result.high)} ({result.verdict}; {result.rows:,} rows, "
        f"{_seeds(result)})."
    )


def _seeds(result: Verdict) -> str:
    if result.candidate_seeds == result.reference_seeds:
        return f"{result.candidate_seeds} seed{'s' if result.candidate_seeds > 1 else ''} each"
    return f"{result.candidate_seeds} and {result.reference_seeds} seeds"


def _unknown_spread(result: Verdict) -> list[str]:
    fewest = min(result.candidate_seeds, result.reference_seeds)
    if fewest == 1:
        return [
            "One seed does not show how much trainings differ: the spread is unknown and the interval speaks of the rows only; "
            "set student.seeds to three or more."
        ]
    if fewest == 2:
        return [
            "Two seeds show little of how much trainings differ, so the interval is rough; set student.seeds to three or more."
        ]
    return []


def _kept(system: System, headline: str, *, who: str) -> list[str]:
    if system.retention is None:
        return []
    speed = f" at {system.speed_up:.1f} times its speed" if system.speed_up is not None else ""
    return [f"{who} keeps {system.retention.mean:.1%} of the teacher's {METRIC_NAMES[headline]}{speed}."]


def points(fraction: float) -> str:
    """A difference in percentage points with its sign: ``+3.5``."""
    rounded = round(100 * fraction, 1)
    return f"{'−' if rounded < 0 else '+'}{abs(rounded):.1f}"


def _pairs(systems: Sequence[System]) -> list[tuple[int, int]]:
    places = {role: [index for index, system in enumerate(systems) if system.role == role] for role in _roles(systems)}
    students, baselines, teachers = (places.get(role, []) for role in ("student_kd", "student_no_kd", "teacher"))
    against_baseline = [(student, baselines[0]) for student in students if baselines]
    return against_baseline + [(student, teachers[0]) for student in students + baselines if teachers]


def _roles(systems: Sequence[System]) -> Mapping[str, None]:
    return dict.fromkeys(system.role for system in systems)


def _statistics(task: Task) -> dict[str, Statistic | None]:
    """None is accuracy, which needs no confusion matrix."""
    if task.multi_label:
        return {task.headline: None}
    f1 = f1_of(positive_index(task.label_names, task.positive_label)) if task.f1 == "f1" else macro_f1
    return {task.headline: None, task.f1: f1}


def _verdict(
    task: Task, candidate: NDArray[Any], reference: NDArray[Any], statistic: Statistic | None, *, seed: int, replicates: int
) -> Verdict:
    if statistic is None:
        right = [given if task.multi_label else given == task.labels for given in (candidate, reference)]
        return paired_bootstrap(right[0], right[1], seed=seed, replicates=replicates)
    few = min(replicates, F1_REPLICATES)
    return compare_predictions(task.labels, candidate, reference, statistic=statistic, seed=seed, replicates=few)
