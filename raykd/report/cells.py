"""Cells of the comparison table as text, for every renderer: the columns and their content."""

from collections.abc import Callable, Sequence

from raykd.metrics.metric import Metric
from raykd.report.comparison import Comparison
from raykd.report.system import Role, Spread, System, variant_title
from raykd.task_kinds import task_kind

NONE = "–"
TableColumn = tuple[str, Callable[[System], str]]


def table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Header and rows, one a system; a column that no system has anything for is left out."""
    columns = [column for column in _columns(comparison) if any(column[1](one) != NONE for one in comparison.systems)]
    names = system_names(comparison.systems)
    body = [[name, *(cell(one) for _, cell in columns)] for name, one in zip(names, comparison.systems, strict=True)]
    return ["", *(header for header, _ in columns)], body


def caption(comparison: Comparison) -> str:
    """Rows of the comparison, and the score of a constant answer on them."""
    f1 = f", F1 of {comparison.positive_label!r}" if comparison.positive_label is not None else ""
    constant = task_kind(comparison.task).constant_text(comparison.constant_score)
    return f"{comparison.rows:,} {'validation ' * comparison.selected}rows, {constant}{f1}"


def legend(comparison: Comparison) -> str:
    """Meaning of the columns."""
    kind = task_kind(comparison.task)
    shown = [kind.metric(name) for name in comparison.table_metrics]
    smaller = " (better when smaller)"
    short = [f"{one.short}: {one.title}{smaller * kind.smaller_is_better(one.name)}" for one in shown if one.short]
    return (
        "; ".join([f"agrees: {kind.agreement_text}", f"keeps: its {kind.headline.title} over the teacher's", *short])
        + "; speed: throughput in batches on CPU, tokenisation included, over the teacher's."
    )


def system_names(systems: Sequence[System]) -> list[str]:
    """Display name of each system: its role, a student's variant, and the name of a teacher where there are several."""
    teachers = [system.name for system in systems if system.role == "teacher"]
    return [system_title(one.role, one.name if one.role == "student" or len(teachers) > 1 else "") for one in systems]


def system_title(role: Role, name: str) -> str:
    """Display name of a system: ``student, KD``, ``teacher ensemble``."""
    return f"student, {variant_title(name)}" if role == "student" else name or "teacher"


def _columns(comparison: Comparison) -> list[TableColumn]:
    kind = task_kind(comparison.task)
    first, *others = (kind.metric(name) for name in comparison.table_metrics)
    agreement = kind.metric("agreement")
    return [
        ("seeds", lambda one: str(len(one.seeds))),
        (metric_header(first), lambda one: spread_text(first, one.metrics.get(first.name))),
        *((metric_header(metric), _mean_cell(metric)) for metric in others),
        (metric_header(agreement), _mean_cell(agreement)),
        ("keeps %", lambda one: percent(one.retention)),
        ("params", lambda one: count(one.footprint.parameters) if one.footprint else NONE),
        ("size", lambda one: size(one.footprint.bytes_on_disk) if one.footprint else NONE),
        ("speed", lambda one: NONE if one.speed_up is None else f"×{one.speed_up:.1f}"),
    ]


def _mean_cell(metric: Metric) -> Callable[[System], str]:
    return lambda one: metric_cell(metric, one.metrics.get(metric.name))


def metric_header(metric: Metric, *, short: bool = True) -> str:
    """Name of a metric, with the unit of its values."""
    name = metric.short_title if short else metric.title
    return f"{name} %" if metric.percent else name


def metric_cell(metric: Metric, spread: Spread | None) -> str:
    """Mean of a metric over seeds."""
    if spread is None:
        return NONE
    return percent(spread) if metric.percent else f"{spread.mean:.3f}"


def spread_text(metric: Metric, spread: Spread | None) -> str:
    """Mean ± standard deviation of a metric; one seed has no spread."""
    if spread is None:
        return NONE
    factor, digits = (100, 2) if metric.percent else (1, 3)
    mean = f"{factor * spread.mean:.{digits}f}"
    return mean if spread.sd is None else f"{mean} ± {factor * spread.sd:.{digits}f}"


def percent(spread: Spread | None) -> str:
    """Mean in percent."""
    return NONE if spread is None else f"{100 * spread.mean:.1f}"


def count(number: int) -> str:
    """``1.5 M``."""
    for unit, factor in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= factor:
            return f"{number / factor:.1f} {unit}"
    return str(number)


def size(number: int) -> str:
    """``6.1 MB``, decimal units."""
    text = count(number)
    return f"{text}B" if text[-1].isalpha() else f"{text} B"
