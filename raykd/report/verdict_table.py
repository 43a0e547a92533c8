"""Differences between systems as a table, and the few sentences of many verdicts that a reader needs."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from raykd.report.cells import system_names
from raykd.report.comparison import Comparison
from raykd.report.verdicts import SEVERAL, SystemContrast, chance, other_steps
from raykd.task_kinds import task_kind

NOT_SEPARABLE = "not separable"


class VerdictLine(NamedTuple):
    """A sentence of the conclusion with its verdict, None where there is none."""

    text: str
    verdict: str | None


def verdict_lines(comparison: Comparison) -> list[VerdictLine]:
    """The sentence of every verdict on two students; of more than three, of the separable ones, then of the others."""
    verdicts: list[str | None] = [one.result.verdict for one in comparison.judged]
    lines = [VerdictLine(*one) for one in zip(comparison.verdicts, verdicts or [None], strict=True)]
    if not has_many_verdicts(comparison):
        return lines
    separable = [one for one in lines if one.verdict != NOT_SEPARABLE]
    others = len(lines) - len(separable)
    if not separable:
        return [VerdictLine(f"None of the {others} differences between students is separable on these rows.", NOT_SEPARABLE)]
    subject = "other difference between students is" if others == 1 else f"other {others} differences between students are"
    rest = [f"The {subject} not separable on these rows."] if others else []
    return [*separable, VerdictLine(" ".join([*rest, chance(len(lines))]), NOT_SEPARABLE if others else None)]


def has_many_verdicts(comparison: Comparison) -> bool:
    """True where a table of the verdicts on students is easier to read than a sentence for each."""
    return len(comparison.judged) > SEVERAL


def verdict_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Every verdict with its interval; metrics in percent have differences in points."""
    kind = task_kind(comparison.task)
    in_points = all(kind.metric(one.metric).percent for one in comparison.contrasts)
    names = {"difference": "points" if in_points else "change"}
    return _table(comparison, comparison.contrasts, names)


def judged_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """The verdicts on two students by the headline metric."""
    metric = task_kind(comparison.task).headline
    names = {"difference": f"{metric.title}, {'points' if metric.percent else 'change'}", "metric": ""}
    return _table(comparison, comparison.judged, names)


def _table(
    comparison: Comparison, contrasts: Sequence[SystemContrast], names: Mapping[str, str]
) -> tuple[list[str], list[list[str]]]:
    """A row for each contrast; with optimiser steps where two students differ in them, without columns named ``""``."""
    kind, systems = task_kind(comparison.task), system_names(comparison.systems)
    rows = []
    for one in contrasts:
        metric, result = kind.metric(one.metric), one.result
        cells = {
            "pair": f"{systems[one.candidate]} − {systems[one.reference]}",
            "metric": metric.title,
            "difference": metric.difference(result.difference),
            "interval": f"{metric.difference(result.low)} to {metric.difference(result.high)}",
            "steps": other_steps(comparison.systems[one.candidate], comparison.systems[one.reference]),
            "verdict": result.wording,
        }
        rows.append(cells)
    header = {"pair": "difference", "metric": "metric", "interval": "95% interval", "steps": "optimiser steps"}
    header |= {"verdict": "verdict", **names}
    shown = [key for key in rows[0] if header[key] and (key != "steps" or any(cells[key] for cells in rows))] if rows else []
    return [header[key] for key in shown], [[cells[key] for key in shown] for cells in rows]
