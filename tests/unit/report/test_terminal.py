"""Reports on a terminal."""

import io
import re
from collections.abc import Callable

from rich.console import Console

from raykd.report.comparison import Comparison
from raykd.report.terminal import render
from tests.unit.report.comparisons import fill

Invent = Callable[..., Comparison]


def test_terminal_table_fits_and_the_verdict_is_last(invent: Invent):
    comparison = fill(invent())
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(render(comparison))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]  # the console writes to a StringIO
    assert max(len(line.rstrip()) for line in lines) <= 100
    table = [line for line in lines if re.match(r" (teacher|student)", line)]
    assert [line.split("  ")[0].strip() for line in table] == ["teacher", "student, no KD", "student, KD"]
    assert all("109.5 M" in line and "438.0 MB" in line for line in table)
    text = " ".join(line.strip() for line in lines)
    assert text.endswith(comparison.verdict())
    assert "warning: the teacher knows its rows by heart" in text
