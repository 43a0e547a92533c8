"""Views of reports for notebooks."""

from collections.abc import Callable

from raykd.report.comparison import Comparison
from raykd.report.report_view import ReportView, comparison_view


def test_text_of_a_view_is_escaped() -> None:
    view = ReportView("a<b", ["<x>"], [["&"]], ["1 < 2"], ["<i>"])
    assert view.text == "a<b\n  1 < 2"
    assert "<x>" not in view.html
    assert "<i>" not in view.html
    assert "<td>&amp;</td>" in view.html
    assert "<p>1 &lt; 2</p>" in view.html


def test_a_comparison_shows_its_table_and_verdicts(invent: Callable[..., Comparison]) -> None:
    comparison = invent()
    view = comparison_view(comparison)
    assert list(view.verdicts) == list(comparison.verdicts)
    assert len(view.body) == len(comparison.systems)
    assert comparison.name in view.title
