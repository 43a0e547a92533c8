"""The comparison in a terminal: a table that fits 100 columns, the verdict last."""

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from raykd.report.cells import caption, table
from raykd.report.comparison import Comparison

VERDICT_STYLES = {"better": "bold green", "worse": "bold red", "not separable": "bold yellow"}


def render(comparison: Comparison) -> RenderableType:
    """Table, warnings, notes and the verdict line."""
    header, body = table(comparison)
    grid = _grid(header)
    for cells in body:
        grid.add_row(*(Text(cell) for cell in cells))
    notes = [Text(f"warning: {warning}", style="yellow") for warning in comparison.warnings]
    notes += [Text(line) for line in comparison.conclusion[1:]]
    verdict = Text(comparison.verdict(), style=_style(comparison))
    return Group(
        Padding(Text(f"{comparison.name}: {caption(comparison)}", style="bold"), (1, 1, 0, 1)),
        grid,
        *(Padding(note, (0, 1)) for note in notes),
        Padding(verdict, (0, 1)),
    )


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


def _style(comparison: Comparison) -> str:
    return VERDICT_STYLES[comparison.contrasts[0].result.verdict] if comparison.judged else "bold"
