"""Pictures of a search: what stands at their axes can be read."""

from itertools import pairwise

import pytest
from matplotlib.figure import Figure

from raykd.tune.search_plots import _panel
from raykd.tune.search_report import SearchReport
from raykd.tune.trial_record import SharedWorkCount, TrialRecord

PATH = "student.objective.temperature"


@pytest.mark.parametrize("values", [(1.1, 2.0, 4.0, 8.3), (1.0, 9.9), (1e-6, 3e-4, 1e-2)])
def test_the_numbers_of_a_logarithmic_axis_stand_apart(values: tuple[float, ...]) -> None:
    trials = [
        TrialRecord(index=i, values={PATH: value}, status="finished", value=0.7 + i / 9) for i, value in enumerate(values)
    ]
    report = SearchReport(
        name="search", metric="accuracy", mode="max", searcher="random", scheduler="none", hyperparameters=(PATH,),
        log_scale=(PATH,), trials=tuple(trials), best=0, values={PATH: 1.1},
        default_values={PATH: 2.0}, importances=None, work=SharedWorkCount(),
    )  # fmt: skip
    figure = Figure((4.0, 3.2))
    axes = figure.subplots()
    _panel(axes, report, PATH)
    figure.canvas.draw()
    low, high = axes.get_xlim()
    shown = [
        label for label in axes.get_xticklabels(which="both") if label.get_text() and low <= label.get_position()[0] <= high
    ]
    assert len(shown) >= 2
    boxes = sorted((label.get_window_extent() for label in shown), key=lambda box: box.x0)
    assert all(left.x1 < right.x0 for left, right in pairwise(boxes)), [label.get_text() for label in shown]
