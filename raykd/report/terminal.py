"""The comparison in a terminal: tables that fit 100 columns, the verdict last."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from raykd.report.cells import caption, system_names, table
from raykd.report.comparison import Comparison
from raykd.report.markdown import cascade_table, has_cascades
from raykd.report.variants import length_note, row_notes, students_differ, variant_table
from raykd.report.verdict_table import has_many_verdicts, judged_table, verdict_lines
from raykd.task_kinds import task_kind

VERDICT_STYLES = {"better": "bold green", "worse": "bold red", "not separable": "bold yellow"}


def render(comparison: Comparison) -> RenderableType:
    """Tables, warnings, notes and the verdict lines."""
    many = has_many_verdicts(comparison)
    grids = [grid_of(*table(comparison)), *([grid_of(*variant_table(comparison))] if students_differ(comparison) else [])]
    notes = [Text(f"warning: {warning}", style="yellow") for warning in comparison.warnings]
    lengths = [length_note(comparison)] if students_differ(comparison) else []
    cascades = [] if many else cascade_lines(comparison)
    notes += [Text(line) for line in [*lengths, *row_notes(comparison), *comparison.notes, *cascades]]
    verdicts = [Text(line.text, style=VERDICT_STYLES.get(line.verdict or "", "bold")) for line in verdict_lines(comparison)]
    return Group(
        Padding(Text(f"{comparison.name}: {caption(comparison)}", style="bold"), (1, 1, 0, 1)),
        *grids,
        *([grid_of(*cascade_table(comparison))] if many and has_cascades(comparison) else []),
        *([_verdict_grid(comparison)] if many else []),
        *(Padding(line, (0, 1)) for line in [*notes, *verdicts]),
    )


def _verdict_grid(comparison: Comparison) -> Table:
    header, body = judged_table(comparison)
    return grid_of(header, body, styles=[VERDICT_STYLES[cells[-1]].removeprefix("bold ") for cells in body])


def cascade_lines(comparison: Comparison) -> list[str]:
    """A sentence for each student but the baseline that was measured with its teacher behind it."""
    metric = task_kind(comparison.task).headline
    unit = " points" if metric.percent else ""
    lines = []
    students = [system for system in comparison.systems if system.role == "student"]
    for name, system in zip(system_names(comparison.systems), comparison.systems, strict=True):
        if system.cascade is not None and system in (students[1:] or students):
            result = system.cascade.against_teacher
            mean, difference = metric.text(system.cascade.headline.mean), metric.difference(result.difference)
            lines.append(
                f"Cascade: the {name.replace(',', '')} hands {system.cascade.escalated.mean:.1%} of the rows on to the "
                f"teacher: {metric.title} {mean}, {difference}{unit} against the teacher, 95% interval "
                f"{metric.difference(result.low)} to {metric.difference(result.high)}."
            )
    return lines


def grid_of_runs(sections: Sequence[tuple[str, list[list[str]]]], header: Sequence[str]) -> Table:
    """One table for several runs: a line with each run's name, its systems below."""
    grid = _grid(header)
    for name, body in sections:
        grid.add_row(Text(name, style="bold"))
        for cells in body:
            grid.add_row(Text(f"  {cells[0]}"), *(Text(cell) for cell in cells[1:]))
        grid.add_section()
    return grid


def _grid(header: Sequence[str]) -> Table:
    grid = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1), collapse_padding=True)
    grid.add_column(Text(header[0]), overflow="fold")
    for name in header[1:]:
        grid.add_column(Text(name.replace(" ", "\n", 1)), justify="right", overflow="fold", vertical="bottom")
    return grid


def grid_of(header: Sequence[str], body: Sequence[Sequence[str]], *, styles: Sequence[str] = ()) -> Table:
    """A table of text; ``styles`` are those of its last column, one a row."""
    grid = _grid(header)
    for cells, style in zip(body, styles or [""] * len(body), strict=True):
        grid.add_row(*(Text(cell) for cell in cells[:-1]), Text(cells[-1], style=style))
    return grid
