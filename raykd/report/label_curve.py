"""The headline metric by the number of labels, over runs of one job with several label budgets."""

from collections.abc import Sequence
from dataclasses import dataclass

from raykd.report.cells import NONE, metric_header, spread_text, system_title
from raykd.report.comparison import Comparison
from raykd.report.plots import STUDENT_COLORS, TEACHER_COLOR, as_svg, new_figure, plot_style
from raykd.report.system import Role, Spread
from raykd.task_kinds import task_kind


@dataclass(frozen=True)
class LabelCurve:
    """One system of several runs."""

    role: Role
    title: str
    points: tuple[tuple[int, Spread], ...]
    """Number of labels, in ascending order, and the headline metric."""


def number_of_labels(run: Comparison) -> int | None:
    """Labelled training rows of a run's students; None where no student's training is known."""
    counts = [one.work.labelled for one in run.systems if one.role == "student" and one.work is not None]
    return max(counts, default=None)


def label_curves(runs: Sequence[Comparison]) -> list[LabelCurve]:
    """A curve for each system: the teacher, then the variants in their order.

    Empty unless the runs were measured on the same rows by one headline metric, each with another number of labels.
    """
    counts = [number_of_labels(run) for run in runs]
    same = {(run.headline, run.labels, run.rows_fingerprint or run.rows) for run in runs}
    if len(runs) < 2 or None in counts or len(set(counts)) < len(runs) or len(same) > 1:
        return []
    ordered = sorted(zip((count or 0 for count in counts), runs, strict=True), key=lambda one: one[0])
    found: dict[tuple[Role, str], list[tuple[int, Spread]]] = {}
    for count, run in ordered:
        for system in run.systems:
            point = (count, system.metrics[run.headline])
            found.setdefault((system.role, system.name), []).append(point)
    several = len([role for role, _ in found if role == "teacher"]) > 1
    return [
        LabelCurve(role, system_title(role, name if role == "student" or several else ""), tuple(points))
        for (role, name), points in sorted(found.items(), key=lambda one: one[0][0] == "student")
    ]


def label_table(runs: Sequence[Comparison]) -> tuple[list[str], list[list[str]]]:
    """Mean ± standard deviation over seeds by system and number of labels; no rows without curves."""
    curves = label_curves(runs)
    if not curves:
        return [], []
    metric = task_kind(runs[0].task).headline
    counts = sorted({count for curve in curves for count, _ in curve.points})
    body = [[one.title, *(spread_text(metric, dict(one.points).get(count)) for count in counts)] for one in curves]
    header = [f"{metric_header(metric)} by labels", *(f"{count:,}" for count in counts)]
    return header, [[cell or NONE for cell in cells] for cells in body]


def label_plot(runs: Sequence[Comparison]) -> str | None:
    """The table as SVG: a line for each variant with one standard deviation, the teacher dashed; None without curves.

    A variant of a single run is a row of the table only, unless all are.
    """
    every = label_curves(runs)
    curves = [one for one in every if len(one.points) > 1] or every
    if not curves:
        return None
    metric = task_kind(runs[0].task).headline
    factor = 100 if metric.percent else 1
    colors = iter(STUDENT_COLORS * len(curves))
    figure = new_figure(7.5, 4.2)
    with plot_style():
        axes = figure.subplots()
        for curve in curves:
            teacher = curve.role == "teacher"
            axes.errorbar(
                [count for count, _ in curve.points],
                [factor * one.mean for _, one in curve.points],
                yerr=[factor * (one.sd or 0.0) for _, one in curve.points],
                color=TEACHER_COLOR if teacher else next(colors),
                linestyle="--" if teacher else "-",
                marker="o",
                markersize=4,
                capsize=3,
                linewidth=1.6,
                label=curve.title,
            )
        counts = sorted({count for curve in curves for count, _ in curve.points})
        axes.set_xscale("log")
        axes.set_xticks(counts, [f"{count:,}" for count in counts])
        axes.minorticks_off()
        axes.set_xlabel("labelled training rows")
        axes.set_ylabel(metric_header(metric))
        axes.legend(loc="best")
        return as_svg(figure)
