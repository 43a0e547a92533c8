"""The comparison table as text, whatever it is rendered with: which columns there are and what stands in them."""

from collections.abc import Callable, Sequence

from raykd.report.comparison import Comparison
from raykd.report.system import Role, Spread, System

NONE = "–"
SHORT_ROLES: dict[Role, str] = {"teacher": "teacher", "student_no_kd": "student, no KD", "student_kd": "student, KD"}
LONG_ROLES: dict[Role, str] = {"teacher": "teacher", "student_no_kd": "student without KD", "student_kd": "student with KD"}
HEADLINES = {"accuracy": "accuracy", "exact_match": "exact match"}

LEGEND = (
    "agrees: rows on which a student says what the teacher says; keeps: its {headline} over the teacher's; NLL: negative "
    "log likelihood and ECE: expected calibration error, both better when smaller; speed: throughput in batches on CPU, "
    "tokenisation included, over the teacher's."
)

Column = tuple[str, Callable[[System], str]]


def table(comparison: Comparison, *, titles: dict[Role, str] = SHORT_ROLES) -> tuple[list[str], list[list[str]]]:
    """Header and rows, one a system; a column that no system has anything for is left out."""
    columns = [column for column in _columns(comparison) if any(column[1](one) != NONE for one in comparison.systems)]
    names = system_names(comparison.systems, titles)
    body = [[name, *(cell(one) for _, cell in columns)] for name, one in zip(names, comparison.systems, strict=True)]
    return ["", *(header for header, _ in columns)], body


def caption(comparison: Comparison) -> str:
    """What the figures are of."""
    f1 = f", F1 of {comparison.positive_label!r}" if comparison.positive_label is not None else ""
    return f"{comparison.rows:,} rows, the commonest answer is right on {comparison.majority:.1%}{f1}"


def legend(comparison: Comparison) -> str:
    """What the columns mean."""
    return LEGEND.format(headline=HEADLINES[comparison.headline])


def system_names(systems: Sequence[System], titles: dict[Role, str]) -> list[str]:
    """What to call each system: its role, with its name where several have that role."""
    roles = [system.role for system in systems]
    return [f"{titles[one.role]} ({one.name})" if roles.count(one.role) > 1 else titles[one.role] for one in systems]


def _columns(comparison: Comparison) -> list[Column]:
    f1 = "F1" if comparison.f1 == "f1" else "macro F1"
    return [
        ("seeds", lambda one: str(len(one.seeds))),
        (f"{HEADLINES[comparison.headline]} %", lambda one: percent_spread(one.metrics[comparison.headline])),
        (f"{f1} %", lambda one: percent(one.metrics[comparison.f1])),
        ("NLL", lambda one: f"{one.metrics['loss'].mean:.3f}"),
        ("ECE", lambda one: f"{one.metrics['ece'].mean:.3f}"),
        ("agrees %", lambda one: percent(one.metrics.get("agreement"))),
        ("keeps %", lambda one: percent(one.retention)),
        ("params", lambda one: count(one.footprint.parameters) if one.footprint else NONE),
        ("size", lambda one: size(one.footprint.bytes_on_disk) if one.footprint else NONE),
        ("speed", lambda one: NONE if one.speed_up is None else f"×{one.speed_up:.1f}"),
    ]


def percent(spread: Spread | None) -> str:
    """Mean in percent."""
    return NONE if spread is None else f"{100 * spread.mean:.1f}"


def percent_spread(spread: Spread) -> str:
    """Mean ± standard deviation in percent; one seed has no spread."""
    return f"{100 * spread.mean:.2f}" if spread.sd is None else f"{100 * spread.mean:.2f} ± {100 * spread.sd:.2f}"


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
