"""The comparison as Markdown: ``report.md``, and the table for a model card."""

from collections.abc import Iterable, Sequence

from raykd.report.cells import NONE, caption, legend, metric_header, percent, size, spread_text, system_names, table
from raykd.report.comparison import Comparison
from raykd.report.latency import Latency
from raykd.report.variants import length_note, row_notes, variant_table
from raykd.report.verdict_table import verdict_lines, verdict_table
from raykd.task_kinds import task_kind

MAX_CLASSES = 20
"""Classes in a table; of more, half as many of the worst and of the best are shown."""
ONE_TEACHER = "All students learned from this teacher; the intervals do not cover the spread of other teachers."

CASCADE_NOTE = (
    "A row goes to the teacher when the student's calibrated confidence is below a threshold. The threshold was chosen on the "
    "validation rows: the one that hands on the fewest of them, a tenth at least, and loses at most 0.3 points against the "
    "teacher."
)

TAIL = 3
"""Column of the 99th percentile in the table of speeds, left out where nothing was measured often enough."""


def markdown(comparison: Comparison) -> str:
    """The whole report as Markdown."""
    sections = [
        f"# {comparison.name}",
        "\n\n".join([*(f"**{line.text}**" for line in verdict_lines(comparison)), *comparison.notes]),
        "\n>\n".join(f"> Warning: {warning}" for warning in comparison.warnings),
        f"{caption(comparison)}.",
        markdown_table(comparison),
        legend(comparison),
        students_section(comparison),
        f"## Differences\n\n{pipe_table(*verdict_table(comparison))}\n\n{ONE_TEACHER}" if comparison.contrasts else "",
        "## All metrics\n\nMean ± standard deviation over seeds.\n\n" + pipe_table(*metric_table(comparison)),
        "## Per class" if has_classes(comparison) else "",
        class_note(comparison) if has_classes(comparison) else "",
        pipe_table(*class_table(comparison)) if has_classes(comparison) else "",
        f"## Cascade\n\n{pipe_table(*cascade_table(comparison))}\n\n{CASCADE_NOTE}" if has_cascades(comparison) else "",
        "## Speed\n\n" + pipe_table(*speed_table(comparison)) if any(one.latency for one in comparison.systems) else "",
        "## Cost\n\n" + pipe_table(*cost_table(comparison)) if has_costs(comparison) else "",
        pipe_table(*export_table(comparison)) if comparison.exports else "",
        "\n".join(f"- {key}: {value}" for key, value in comparison.environment.items()),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def students_section(comparison: Comparison) -> str:
    """Rows, steps and parameters of the students, with what their lengths have in common; empty where it is not known."""
    header, body = variant_table(comparison)
    notes = "\n\n".join([length_note(comparison), *row_notes(comparison)])
    return f"## Students\n\n{pipe_table(header, body)}\n\n{notes}" if body else ""


def markdown_table(comparison: Comparison) -> str:
    """The main table alone, as a model card shows it."""
    return pipe_table(*table(comparison))


def metric_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Every metric of every system, with spread."""
    kind = task_kind(comparison.task)
    known = list(dict.fromkeys(name for system in comparison.systems for name in system.metrics))
    body = [
        [metric_header(metric, short=False), *(spread_text(metric, one.metrics.get(metric.name)) for one in comparison.systems)]
        for metric in map(kind.metric, known)
    ]
    return ["", *system_names(comparison.systems)], body


def has_classes(comparison: Comparison) -> bool:
    """True when some system has metrics per class."""
    return any(system.classes for system in comparison.systems)


def class_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Precision, recall and F1 of each class by system, in percent; of many classes, the worst and the best."""
    names = system_names(comparison.systems)
    body = [
        [label, f"{system.classes[label]['rows']:,.0f}", name]
        + [f"{100 * system.classes[label][key]:.1f}" for key in ("precision", "recall", "f1")]
        for label in _shown_classes(comparison)
        for name, system in zip(names, comparison.systems, strict=True)
    ]
    return ["class", "rows", "model", "precision %", "recall %", "F1 %"], body


def _shown_classes(comparison: Comparison) -> Sequence[str]:
    """All classes, or the worst and the best of the last system by F1, the worst first; classes without rows left out."""
    if len(comparison.labels) <= MAX_CLASSES:
        return comparison.labels
    classes = comparison.systems[-1].classes
    ranked = sorted((label for label in comparison.labels if classes[label]["rows"]), key=lambda label: classes[label]["f1"])
    return ranked if len(ranked) <= MAX_CLASSES else ranked[: MAX_CLASSES // 2] + ranked[-MAX_CLASSES // 2 :]


def class_note(comparison: Comparison) -> str:
    """The choice of classes in the table; empty where all are shown."""
    shown = len(_shown_classes(comparison))
    if shown == len(comparison.labels):
        return ""
    name = system_names(comparison.systems)[-1].replace(",", "")
    return (
        f"{shown} of {len(comparison.labels):,} classes, by the F1 of the {name}, the worst first, then the best; "
        "report.json has all."
    )


def has_cascades(comparison: Comparison) -> bool:
    """True when some student was measured with its teacher behind it."""
    return any(system.cascade for system in comparison.systems)


def cascade_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Share of rows handed on to the teacher, the cascade's headline metric, and its difference to the teacher's."""
    metric = task_kind(comparison.task).headline
    body = []
    for name, system in zip(system_names(comparison.systems), comparison.systems, strict=True):
        if (found := system.cascade) is not None:
            result = found.against_teacher
            interval = f"{metric.difference(result.low)} to {metric.difference(result.high)}"
            handed_on = f"{100 * found.escalated.mean:.1f}"
            body.append([name, handed_on, percent(found.headline), metric.difference(result.difference), interval])
    return ["", "rows handed on %", metric_header(metric), "against the teacher", "95% interval"], body


def speed_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Latency and throughput on CPU, tokenisation included, and the calls behind them: single rows and batches.

    Exported files stand below the models.
    """
    names = system_names(comparison.systems)
    timed = [(name, system.latency) for name, system in zip(names, comparison.systems, strict=True)]
    teacher = next((system.latency for system in comparison.systems if system.role == "teacher"), None)
    body = []
    for name, latency in [*timed, *((one.name, one.latency) for one in comparison.exports)]:
        if latency is not None:
            tail = NONE if latency.p99_ms is None else f"{latency.p99_ms:.2f}"
            times = [f"{latency.p50_ms:.2f}", tail, f"{latency.rows_per_second:,.0f}"]
            calls = f"{latency.single_rows:,} + {latency.batches:,}"
            body.append([name, str(latency.threads), *times, *_gains(latency, teacher), calls])
    header = ["", "threads", "one row p50 ms", "p99 ms", "batches, rows/s", "faster, one row", "faster, batches", "calls"]
    shown = [column for column in range(len(header)) if column != TAIL or any(cells[TAIL] != NONE for cells in body)]
    return [header[column] for column in shown], [[cells[column] for column in shown] for cells in body]


def _gains(latency: Latency, teacher: Latency | None) -> list[str]:
    """Speed-up over the teacher; empty for the teacher itself."""
    if teacher is None or latency == teacher:
        return [NONE, NONE]
    return [f"×{teacher.p50_ms / latency.p50_ms:.1f}", f"×{latency.rows_per_second / teacher.rows_per_second:.1f}"]


def has_costs(comparison: Comparison) -> bool:
    """True with a language model as teacher, whose speed on a CPU is not measured."""
    return any(one.role == "teacher" and one.cost is not None and one.latency is None for one in comparison.systems)


def cost_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Seconds of one prediction actor for 1,000 rows of the report, and the teacher's over those of the others."""
    names = system_names(comparison.systems)
    costs = [(name, one.cost) for name, one in zip(names, comparison.systems, strict=True) if one.cost is not None]
    teacher = next(one.cost for one in comparison.systems if one.role == "teacher" and one.cost is not None)
    body = [
        [name, one.device, f"{one.seconds:,.3g}", NONE if one is teacher else f"×{teacher.seconds / one.seconds:,.1f}"]
        for name, one in costs
    ]
    return ["", "device", "seconds per 1,000 rows", "cheaper"], body


def export_table(comparison: Comparison) -> tuple[list[str], list[list[str]]]:
    """Exported files, and how they compare with the models they were made from."""
    body = [
        [one.name, size(one.bytes_on_disk), f"{one.rows:,}", f"{one.largest_difference:.2g}", f"{100 * one.agreement:.1f}"]
        for one in comparison.exports
    ]
    return ["exported", "size", "rows compared", "largest difference of a logit", "same prediction %"], body


def pipe_table(header: Sequence[str], body: Iterable[Sequence[str]]) -> str:
    """A Markdown table: first column left, others right."""
    lines = [header, ["---", *(["---:"] * (len(header) - 1))], *body]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
