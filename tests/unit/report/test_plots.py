"""Plots of reports."""

from collections.abc import Callable

from raykd.report.comparison import Comparison
from raykd.report.html import html
from raykd.report.plots import curve_plot, metric_plot, reliability_plot

Invent = Callable[..., Comparison]


def test_plots_are_svg_and_the_same_every_time(invent: Invent):
    comparison = invent()
    assert "<svg" in metric_plot(comparison)
    assert reliability_plot(comparison) == reliability_plot(comparison)


def test_curves_need_a_history(invent: Invent):
    comparison = invent()
    bare = comparison.model_copy(update={"systems": tuple(one.model_copy(update={"curves": ()}) for one in comparison.systems)})
    assert curve_plot(bare) is None
    assert "<h2>Training</h2>" not in html(bare)
    assert "<svg" in (curve_plot(comparison) or "")
