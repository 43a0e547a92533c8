"""Differences between systems as a table, and the few sentences of many verdicts that a reader needs."""

from collections.abc import Sequence
from typing import NamedTuple

from raykd.report.cells import system_names
from raykd.report.comparison import Comparison
from raykd.report.verdicts import SEVERAL, SystemContrast
from raykd.task_kinds import task_kind

NOT_SEPARABLE = "not separable"


class VerdictLine(NamedTuple):
    """A sentence of the conclusion with its verdict, None where there is none."""

    text: str
    verdict: str | None


def verdict_lines(comparison: Comparison) -> list[VerdictLine]:
    """The sentence of every verdict on two students; of more than three, of the separable ones, then how many others."""
    verdicts: list[str | None] = [one.result.verdict for one in comparison.judged]
    lines = [VerdictLine(*one) for one in zip(comparison.verdicts, verdicts or [None], strict=True)]
    if not has_many_verdicts(comparison):
        return lines
    separable = [one for one in lines if one.verdict != NOT_SEPARABLE]
    others = len(lines) - len(separable)
    if not separable:
        return [VerdictLine(f"None of the {others} differences between students is separable on these rows.", NOT_SEPARABLE)]
    if others:
        subject = "other difference between students is" if others == 1 else f"other {others} differences between students are"
        separable.append(VerdictLine(f"The {subject} not separable on these rows.", NOT_SEPARABLE))
    return separable


def has_many_verdicts(comparison: Comparison) -> bool:
    """True where a table of the verdicts on students is easier to read than a sentence for each."""
    return len(comparison.judged) > SEVERAL


def verdict_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Every verdict with its interval; metrics in percent have differences in points."""
    kind = task_kind(comparison.task)
    in_points = all(kind.metric(one.metric).percent for one in comparison.contrasts)
    body = [_cells(comparison, one) for one in comparison.contrasts]
    return ["difference", "metric", "points" if in_points else "change", "95% interval", "verdict"], body


def judged_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The verdicts on two students by the headline metric."""
    metric = task_kind(comparison.task).headline
    unit = "points" if metric.percent else "change"
    body = [[cell for column, cell in enumerate(_cells(comparison, one)) if column != 1] for one in comparison.judged]
    return ["difference", f"{metric.title}, {unit}", "95% interval", "verdict"], body


def _cells(comparison: Comparison, contrast: SystemContrast) -> list[str]:
    names: Sequence[str] = system_names(comparison.systems)
    metric, result = task_kind(comparison.task).metric(contrast.metric), contrast.result
    interval = f"{metric.difference(result.low)} to {metric.difference(result.high)}"
    pair = f"{names[contrast.candidate]} − {names[contrast.reference]}"
    return [pair, metric.title, metric.difference(result.difference), interval, result.verdict]
