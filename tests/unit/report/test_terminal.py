"""Reports on a terminal."""

import io
import re
from collections.abc import Callable

from rich.console import Console

from raykd.report.comparison import Comparison
from raykd.report.footprint import Footprint
from raykd.report.latency import Latency
from raykd.report.system import beside_teacher
from raykd.report.terminal import render

Invent = Callable[..., Comparison]


def fill(comparison: Comparison) -> Comparison:
    """With every column that a table can have."""
    speed = Latency(p50_ms=12.5, p99_ms=120.25, rows_per_second=1234.5, batch_size=32, single_rows=9, threads=1)
    update = {"footprint": Footprint(parameters=109_483_778, bytes_on_disk=438_000_000), "latency": speed}
    systems = [one.model_copy(update=update) for one in comparison.systems]
    systems = [systems[0], *(beside_teacher(one, systems[0], comparison.headline) for one in systems[1:])]
    return comparison.model_copy(update={"systems": tuple(systems), "warnings": ("the teacher knows its rows by heart",)})


def test_terminal_table_fits_and_the_verdict_is_last(invent: Invent):
    comparison = fill(invent())
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(render(comparison))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(len(line.rstrip()) for line in lines) <= 100
    table = [line for line in lines if re.match(r" (teacher|student)", line)]
    assert [line.split("  ")[0].strip() for line in table] == ["teacher", "student, no KD", "student, KD"]
    assert all("109.5 M" in line and "438.0 MB" in line for line in table)
    text = " ".join(line.strip() for line in lines)
    assert text.endswith(comparison.verdict())
    assert "warning: the teacher knows its rows by heart" in text
