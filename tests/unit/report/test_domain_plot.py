"""Plots of accuracies by domain."""

from raykd.report.domain_accuracy import SystemRow
from raykd.report.domain_plot import domain_figure
from raykd.report.system import spread


def test_each_domain_has_a_panel_and_each_seed_a_dot() -> None:
    accuracies = {"books": spread([0.5, 0.7]), "dvd": spread([0.6, 0.8])}
    teacher = SystemRow(role="teacher", teacher="meta-teacher", method="–", domains=accuracies, average=spread([0.55, 0.75]))
    student = SystemRow(role="student", teacher="–", method="hard labels", domains={}, average=spread([0.5]))
    panels = domain_figure([teacher, student]).axes
    assert [axes.get_title(loc="left") for axes in panels] == [f"{name}: accuracy %" for name in ("books", "dvd", "average")]
    assert panels[0].lines[0].get_xdata().tolist() == [50.0, 70.0]  # type: ignore[union-attr]  # a line has its data
    assert [len(axes.lines) for axes in panels] == [2, 2, 4]
    assert [text.get_text() for text in panels[0].get_yticklabels()] == ["meta-teacher", "–, hard labels"]
