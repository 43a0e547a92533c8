"""Plots of a search as SVG text."""

from typing import TYPE_CHECKING

import numpy as np

from raykd.report.plots import as_svg, new_figure, plot_style
from raykd.tune.search_report import SearchReport
from raykd.tune.trial_record import TrialRecord
from raykd.tune.trial_text import short_names

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLORS = {"finished": "#1f77b4", "stopped": "#9aa3ad", "failed": "#c8372d", "running": "#d9822b"}
BEST = "#2a9d5c"


def hyperparameter_plot(report: SearchReport) -> str:
    """The searched values as SVG."""
    figure = hyperparameter_figure(report)
    with plot_style():
        return as_svg(figure)


def hyperparameter_figure(report: SearchReport) -> "Figure":
    """A panel for each hyperparameter: the metric of every trial by its value, the best one marked."""
    figure = new_figure(max(4.5, min(10.5, 4.0 * len(report.hyperparameters))), 3.2)
    with plot_style():
        panels = figure.subplots(1, len(report.hyperparameters), squeeze=False, sharey=True)[0]
        for axes, path, name in zip(panels, report.hyperparameters, short_names(report.hyperparameters), strict=True):
            _panel(axes, report, path)
            axes.set_xlabel(name)
        panels[0].set_ylabel(report.metric)
    return figure


def progress_plot(report: SearchReport) -> str:
    """Every trial in the order of their start, and the best so far."""
    figure = new_figure(7.0, 3.0)
    with plot_style():
        axes = figure.subplots()
        known = _known(report)
        best = (np.maximum if report.mode == "max" else np.minimum).accumulate([record.value or 0.0 for record in known])
        for record in known:
            axes.plot([record.index], [record.value or 0.0], "o", color=COLORS[record.status], markersize=5)
        axes.step([record.index for record in known], best, where="post", color=BEST, linewidth=1.8, label="best so far")
        axes.set(xlabel="trial", ylabel=report.metric)
        axes.legend()
        return as_svg(figure)


def parallel_plot(report: SearchReport) -> str:
    """A line for each trial through its values to its metric; the darker, the better."""
    figure = new_figure(max(5.0, 2.2 * (len(report.hyperparameters) + 1)), 3.4)
    with plot_style():
        axes = figure.subplots()
        known = _known(report)
        columns = [_scaled(report, path, known) for path in report.hyperparameters]
        values = np.array([record.value for record in known], dtype=float)
        metric = _unit(values)
        rank = np.argsort(np.argsort(values if report.mode == "max" else -values)) / max(len(values) - 1, 1)
        for row in np.argsort(rank):
            heights = [*(column[row] for column in columns), metric[row]]
            best = known[row].index == report.best
            axes.plot(
                heights, color=BEST if best else "#1f77b4", alpha=1.0 if best else 0.15 + 0.6 * rank[row], linewidth=1.5 + best
            )
        axes.set_xticks(range(len(columns) + 1), [*short_names(report.hyperparameters), report.metric])
        axes.set_yticks([0, 1], ["lowest", "highest"])
        return as_svg(figure)


def importance_plot(report: SearchReport) -> str | None:
    """Share of the metric's variance that each hyperparameter explains; None when it is unknown."""
    if not report.importances:
        return None
    figure = new_figure(6.0, 0.7 + 0.45 * len(report.importances))
    with plot_style():
        axes = figure.subplots()
        paths = list(reversed(report.importances))
        axes.barh(short_names(paths), [report.importances[path] for path in paths], color="#1f77b4", height=0.6)
        axes.set(xlim=(0, 1), xlabel=f"share of the variance at step {report.importance_step} (fANOVA)")
        return as_svg(figure)


def _panel(axes: "Axes", report: SearchReport, path: str) -> None:
    for record in _known(report):
        value = record.values[path]
        position = value if isinstance(value, int | float) and not isinstance(value, bool) else str(value)
        best = record.index == report.best
        color, size = (BEST, 8) if best else (COLORS[record.status], 5)
        axes.plot([position], [record.value or 0.0], "o", color=color, markersize=size)
    if path in report.log_scale:
        from matplotlib.ticker import LogLocator, NullFormatter

        axes.set_xscale("log")
        low, high = axes.get_xlim()
        axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high / low < 100 else (1.0,)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")  # powers of ten run into each other within a decade
        axes.xaxis.set_minor_formatter(NullFormatter())


def _known(report: SearchReport) -> list[TrialRecord]:
    return [record for record in report.trials if record.value is not None]


def _scaled(report: SearchReport, path: str, known: list[TrialRecord]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """A hyperparameter of every trial, scaled to 0 to 1; values that are no numbers by their order."""
    values = [record.values[path] for record in known]
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
        numbers = np.array(values, dtype=float)
        return _unit(np.log(numbers) if path in report.log_scale else numbers)
    names = sorted({str(value) for value in values})
    return _unit(np.array([names.index(str(value)) for value in values], dtype=float))


def _unit(numbers: np.ndarray[tuple[int], np.dtype[np.float64]]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    span = float(np.ptp(numbers))
    return (numbers - numbers.min()) / span if span else np.full(len(numbers), 0.5)
