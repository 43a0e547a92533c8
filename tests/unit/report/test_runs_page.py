"""One page for several runs."""

from collections.abc import Callable
from pathlib import Path

from raykd.report.comparison import Comparison
from raykd.report.files import compare_runs
from tests.unit.report.comparisons import keep, printed, with_labels


def test_runs_with_other_budgets_are_plotted_and_tabled(invent: Callable[..., Comparison], tmp_path: Path) -> None:
    runs = [with_labels(invent(gain=gain, fingerprint="rows"), labels) for gain, labels in ((0.8, 1000), (0.3, 4000))]
    for number, run in enumerate(runs):
        keep(run, tmp_path / str(number))
    folders = [str(tmp_path / str(number)) for number in range(2)]
    text = " ".join(" ".join(printed(compare_runs(folders, page=str(tmp_path / "runs.html")))).split())
    assert "by labels" in text
    assert "1,000 4,000" in text
    html = (tmp_path / "runs.html").read_text()
    assert html.count("<img alt=") == 1
    assert "<h2>budget-1000</h2>" in html
    assert runs[1].verdicts[0].split(":")[0] in html


def test_runs_on_other_rows_are_shown_with_a_warning(invent: Callable[..., Comparison], tmp_path: Path) -> None:
    keep(with_labels(invent(fingerprint="a"), 1000), tmp_path / "1")
    keep(with_labels(invent(fingerprint="b"), 4000), tmp_path / "2")
    compare_runs([str(tmp_path / "1"), str(tmp_path / "2")], page=str(tmp_path / "runs.html"))
    html = (tmp_path / "runs.html").read_text()
    assert "were not measured on the same rows" in html
    assert "<img" not in html
