"""The headline metric by the number of labels: which runs have curves, their table and their plot."""

from collections.abc import Callable

import pytest

from raykd.report.comparison import Comparison
from raykd.report.label_curve import label_curves, label_plot, label_table, number_of_labels
from tests.unit.report.comparisons import with_labels

Invent = Callable[..., Comparison]


@pytest.fixture
def runs(invent: Invent) -> list[Comparison]:
    return [with_labels(invent(gain=gain, fingerprint="rows"), labels) for gain, labels in ((0.3, 4000), (0.8, 1000))]


def test_each_system_has_a_curve_in_the_order_of_the_labels(runs: list[Comparison]) -> None:
    curves = label_curves(runs)
    assert [one.title for one in curves] == ["teacher", "student, no KD", "student, KD"]
    assert [[labels for labels, _ in one.points] for one in curves] == [[1000, 4000]] * 3
    assert curves[2].points[0][1] == runs[1].systems[2].metrics["accuracy"]
    header, body = label_table(runs)
    assert header == ["accuracy % by labels", "1,000", "4,000"]
    assert [cells[0] for cells in body] == ["teacher", "student, no KD", "student, KD"]
    assert " ± " in body[2][1]
    assert " ± " not in body[0][1], "one teacher has no spread"


def test_a_variant_that_one_run_lacks_has_a_gap(runs: list[Comparison]) -> None:
    fewer = runs[0].model_copy(update={"systems": runs[0].systems[:2]})
    assert label_table([fewer, runs[1]])[1][2][1:] == [label_table(runs)[1][2][1], "–"]


@pytest.mark.parametrize(
    "change", [{"rows_fingerprint": "others"}, {"headline": "loss"}, {"labels": ("a", "b")}], ids=["rows", "metric", "labels"]
)
def test_runs_that_do_not_compare_have_no_curves(runs: list[Comparison], change: dict[str, object]) -> None:
    assert label_curves([runs[0], runs[1].model_copy(update=change)]) == []


def test_runs_with_the_same_labels_have_no_curves(runs: list[Comparison], invent: Invent) -> None:
    for given in ([], runs[:1], [runs[0], runs[0]], [runs[0], invent(fingerprint="rows")]):
        assert label_curves(given) == []
        assert label_table(given) == ([], [])
        assert label_plot(given) is None
    assert number_of_labels(invent()) is None


def test_the_plot_has_a_line_for_each_system(runs: list[Comparison]) -> None:
    svg = label_plot(runs)
    assert svg is not None
    assert svg == label_plot(runs), "the same for the same runs"
    for text in ("teacher", "student, no KD", "student, KD", "labelled training rows", "1,000", "4,000"):
        assert f"<!-- {text} -->" in svg
    assert svg.count("LineCollection") == 6, "bars of one standard deviation, of the lines and of the legend"


def test_a_variant_of_one_run_is_in_the_table_and_not_in_the_plot(runs: list[Comparison]) -> None:
    fewer = runs[0].model_copy(update={"systems": runs[0].systems[:2]})
    svg = label_plot([fewer, runs[1]])
    assert svg is not None
    assert "<!-- student, no KD -->" in svg
    assert "<!-- student, KD -->" not in svg
    assert "student, KD" in [cells[0] for cells in label_table([fewer, runs[1]])[1]]
