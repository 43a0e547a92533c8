"""Plots of a report as SVG text: metrics with spread, training curves, reliability diagrams."""

import io
import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from raykd.metrics.metric import Metric
from raykd.report.cells import metric_header, system_names
from raykd.report.comparison import Comparison
from raykd.report.history import Curves, Series
from raykd.report.system import Bins, System
from raykd.task_kinds import task_kind

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TEACHER_COLOR = "#5b6470"
STUDENT_COLORS = ("#d9822b", "#1f77b4", "#2a9d5c", "#9c4dcc", "#c8372d", "#6b7a8f", "#b5a22b", "#17a2b8")
"""Colours of the student variants in their order, used again from the ninth on."""
PANELS = 4
"""Reliability diagrams beside each other."""
LINE_COLORS = ("#1f77b4", "#d9822b", "#2a9d5c", "#9c4dcc", "#c8372d", "#6b7a8f")
STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#9aa3ad",
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "#e4e8ec",
    "xtick.color": "#4a525b",
    "ytick.color": "#4a525b",
    "legend.frameon": False,
    "legend.fontsize": 9,
    "svg.hashsalt": "raykd",
}


@dataclass(frozen=True)
class _DrawnSystem:
    """A system in a plot."""

    name: str
    color: str
    system: System


def metric_plot(comparison: Comparison) -> str:
    """The metrics as SVG."""
    figure = metric_figure(comparison)
    with plot_style():
        return as_svg(figure)


def metric_figure(comparison: Comparison) -> "Figure":
    """A panel a metric: one dot a seed, the mean as a tick, one standard deviation to both sides as a bar."""
    metrics = task_kind(comparison.task).metrics
    shown = [one for one in metrics if one.plotted and any(one.name in system.metrics for system in comparison.systems)]
    columns = 3
    lines = -(-len(shown) // columns)
    height = 0.45 + 0.36 * len(comparison.systems)
    figure = new_figure(10.5, lines * (height + 0.75))
    with plot_style():
        panels = figure.subplots(lines, columns, squeeze=False)
        for axes, metric in zip(panels.flat, shown, strict=False):
            _metric_panel(axes, comparison, metric, named=axes in panels[:, 0])
        for axes in panels.flat[len(shown) :]:
            axes.set_axis_off()
    return figure


def curve_plot(comparison: Comparison) -> str | None:
    """A line of panels a system: terms of the loss, metric on the validation rows, shares of the gradient where logged."""
    systems = [each for each in _drawn(comparison) if any(curves.terms.steps for curves in each.system.curves)]
    if not systems:
        return None
    with_shares = any(curves.shares.steps for each in systems for curves in each.system.curves)
    figure = new_figure(10.5, 2.5 * len(systems))
    with plot_style():
        panels = figure.subplots(len(systems), 2 + with_shares, squeeze=False)
        colors = _colors(curves.terms for each in systems for curves in each.system.curves)
        for line, each in zip(panels, systems, strict=True):
            line[1].sharey(panels[0][1])
            _term_panel(line[0], each.name, each.system, colors)
            _validation_panel(line[1], comparison.headline, each)
            if with_shares:
                _share_panel(line[2], each.system.curves, colors)
        for axes in panels[-1]:
            axes.set_xlabel("optimiser step")
        return as_svg(figure)


def reliability_plot(comparison: Comparison) -> str | None:
    """One panel per system: accuracy by confidence, as bars; None where outputs are not probabilities."""
    systems = [(each, each.system.calibration) for each in _drawn(comparison) if each.system.calibration is not None]
    if not systems:
        return None
    lowest = min(_lowest_edge(bins) for _, bins in systems)
    columns = min(len(systems), PANELS)
    lines = -(-len(systems) // columns)
    figure = new_figure(min(10.5, 3.4 * columns), 3.2 * lines)
    with plot_style():
        panels = figure.subplots(lines, columns, squeeze=False, sharey=True)
        for axes, (each, bins) in zip(panels.flat, systems, strict=False):
            _reliability_panel(axes, each, bins, lowest=lowest)
        for axes in panels.flat[len(systems) :]:
            axes.set_axis_off()
        for line in panels:
            line[0].set_ylabel("right")
        return as_svg(figure)


def cascade_plot(comparison: Comparison) -> str | None:
    """The headline metric on the validation rows by the share of rows handed on; a dot is the chosen threshold on the report's.

    None without a cascade.
    """
    metric = task_kind(comparison.task).headline
    cascades = [(each, each.system.cascade) for each in _drawn(comparison) if each.system.cascade is not None]
    if not cascades:
        return None
    factor = 100 if metric.percent else 1
    figure = new_figure(7.0, 3.4)
    with plot_style():
        axes = figure.subplots()
        for each, cascade in cascades:
            color = each.color
            curve = factor * np.array(cascade.curve)
            axes.plot(100 * np.array(cascade.shares), curve, color=color, linewidth=1.8, label=each.name)
            axes.plot([100 * cascade.escalated.mean], [factor * cascade.headline.mean], "o", color=color, markersize=6)
        teacher = next(one for one in comparison.systems if one.role == "teacher").metrics[metric.name].mean
        axes.axhline(factor * teacher, color=TEACHER_COLOR, linestyle="--", linewidth=1, label="teacher")
        axes.set_xlabel("rows handed on to the teacher, %")
        axes.set_ylabel(metric_header(metric))
        axes.set_xlim(-2, 102)
        axes.legend(loc="best")
        return as_svg(figure)


def _lowest_edge(bins: Bins) -> float:
    """Left edge of the first bin with rows."""
    return next((index for index, rows in enumerate(bins.rows) if rows), 0) / len(bins.rows)


def _metric_panel(axes: "Axes", comparison: Comparison, metric: Metric, *, named: bool) -> None:
    heights = range(len(comparison.systems), 0, -1)
    factor = 100 if metric.percent else 1
    for height, each in zip(heights, _drawn(comparison), strict=True):
        if metric.name not in each.system.metrics:
            continue
        color, given = each.color, each.system.metrics[metric.name]
        mean, values = factor * given.mean, factor * np.array(given.values)
        if given.sd is not None:
            axes.barh(height, 2 * factor * given.sd, left=mean - factor * given.sd, height=0.5, color=color, alpha=0.25)
        axes.plot(values, np.full(len(values), height), "o", color=color, markersize=4, alpha=0.75, markeredgewidth=0)
        axes.plot([mean, mean], [height - 0.32, height + 0.32], color=color, linewidth=2)
        text = f"{mean:.1f}" if factor == 100 else f"{mean:.3f}"
        axes.annotate(text, (1.0, height), xycoords=("axes fraction", "data"), ha="left", va="center", fontsize=9, color=color)
    axes.set_title(_metric_title(metric, smaller=task_kind(comparison.task).smaller_is_better(metric.name)))
    axes.set_ylim(0.4, len(comparison.systems) + 0.6)
    axes.set_yticks(list(heights), system_names(comparison.systems) if named else [""] * len(heights))
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="y", visible=False)
    axes.use_sticky_edges = False  # a bar's end is no edge of the panel
    axes.margins(x=0.12)
    axes.locator_params(axis="x", nbins=5)


def _metric_title(metric: Metric, *, smaller: bool) -> str:
    title = metric_header(metric, short=not metric.percent)
    return f"{title[0].upper()}{title[1:]}{' (less is better)' * smaller}"


def _term_panel(axes: "Axes", name: str, system: System, colors: Mapping[str, str]) -> None:
    _lines(axes, [one.terms for one in system.curves], colors)
    axes.set_title(f"{name}: loss terms")
    if axes.dataLim.ymin >= 0:
        axes.set_ylim(bottom=0)


def _validation_panel(axes: "Axes", headline: str, drawn: _DrawnSystem) -> None:
    """The headline metric; every metric there is where that is not among them."""
    series = [one.metrics for one in drawn.system.curves]
    if any(headline in one.values for one in series):
        series = [_only(one, headline) for one in series]
        _lines(axes, series, {headline: drawn.color}, marker="o")
    else:
        _lines(axes, series, _colors(series), marker="o")
    axes.set_title("on the validation rows")


def _share_panel(axes: "Axes", curves: Sequence[Curves], colors: Mapping[str, str]) -> None:
    axes.set_title("share of the gradient")
    if not any(one.shares.steps for one in curves):
        axes.text(0.5, 0.5, "one term" if len(_colors(one.terms for one in curves)) == 1 else "not logged",
                  ha="center", va="center", color="#7a838c")  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        return
    _lines(axes, [one.shares for one in curves], {**_colors(one.shares for one in curves), **colors})
    axes.set_ylim(0, 1)


def _colors(series: Iterable[Series]) -> dict[str, str]:
    """A colour for every figure, the same in all panels."""
    names = list(dict.fromkeys(name for one in series for name in one.values))
    return {name: LINE_COLORS[index % len(LINE_COLORS)] for index, name in enumerate(names)}


def _lines(axes: "Axes", series: Sequence[Series], colors: Mapping[str, str], *, marker: str = "") -> None:
    """Every series thin, and their mean thick where they share their steps."""
    names = list(dict.fromkeys(name for one in series for name in one.values))
    for name in names:
        drawn = [(one.steps, _gaps(one.values[name])) for one in series if name in one.values]
        alone = len(drawn) == 1
        for steps, values in drawn:
            style: dict[str, Any] = {"marker": marker, "linewidth": 1.8} if alone else {"linewidth": 0.8, "alpha": 0.3}
            axes.plot(steps, values, color=colors[name], markersize=3, **style)
        if not alone and len({steps for steps, _ in drawn}) == 1:
            mean = np.mean([values for _, values in drawn], axis=0)
            axes.plot(drawn[0][0], mean, color=colors[name], linewidth=1.8, marker=marker, markersize=3)
        axes.plot([], [], color=colors[name], linewidth=1.8, label=name)
    if names:
        axes.legend(loc="best")


def _reliability_panel(axes: "Axes", drawn: _DrawnSystem, bins: Bins, *, lowest: float) -> None:
    """``lowest`` is the least confidence that is shown."""
    color = drawn.color
    width = 1 / len(bins.rows)
    total = max(sum(bins.rows), 1)
    for index, (confidence, right, rows) in enumerate(zip(bins.confidence, bins.accuracy, bins.rows, strict=True)):
        if rows:
            share = 0.25 + 0.75 * min(1.0, rows / total * 4)  # few rows: pale
            axes.bar((index + 0.5) * width, right, width * 0.92, color=color, alpha=share)
            axes.plot([confidence], [right], "o", color="black", markersize=2.5)
    axes.plot([0, 1], [0, 1], color="#7a838c", linestyle="--", linewidth=1)
    axes.set_xlim(max(0.0, lowest - 0.05), 1)
    axes.set_ylim(0, 1.02)
    axes.set_title(f"{drawn.name}\nECE {drawn.system.metrics['ece'].mean:.3f}")
    axes.set_xlabel("confidence")


def _only(series: Series, name: str) -> Series:
    return series.model_copy(update={"values": {name: series.values[name]} if name in series.values else {}})


def _gaps(values: Iterable[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([np.nan if value is None else value for value in values])


def _drawn(comparison: Comparison) -> list[_DrawnSystem]:
    """Each system with its name and its colour: teachers grey, students by their order."""
    names = zip(system_names(comparison.systems), comparison.systems, strict=True)
    colors = itertools.cycle(STUDENT_COLORS)
    return [_DrawnSystem(name, TEACHER_COLOR if one.role == "teacher" else next(colors), one) for name, one in names]


def new_figure(width: float, height: float) -> "Figure":
    """An empty figure, in inches."""
    _import_matplotlib()
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    from raykd.report.notebook_figure import NotebookFigure  # no pyplot: no global state, no display

    return NotebookFigure(figsize=(width, height), layout=ConstrainedLayoutEngine(h_pad=0.1))


def plot_style() -> Any:
    """Context with the plot style of a report."""
    mpl = _import_matplotlib()
    return mpl.rc_context(cast(Any, STYLE))


def _import_matplotlib() -> Any:
    """Import matplotlib whatever ``MPLBACKEND`` names; a notebook's value stays in force for other figures."""
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        import matplotlib as mpl
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend
    return mpl


def as_svg(figure: "Figure") -> str:
    """The figure as SVG text, the same for the same figure."""
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    buffer = io.StringIO()
    FigureCanvasSVG(figure)
    metadata: Mapping[str, Any] = {"Date": None, "Creator": None}
    figure.savefig(buffer, format="svg", metadata=dict(metadata))
    return buffer.getvalue()
