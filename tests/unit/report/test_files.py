"""Files of reports, read back and compared."""

from collections.abc import Callable
from pathlib import Path

import pytest

from raykd.errors import ConfigError
from raykd.report.comparison import Comparison
from raykd.report.files import compare_runs, read_report, report_folder, write_report
from tests.unit.report.comparisons import fill, keep, printed

Invent = Callable[..., Comparison]


def test_report_files_are_read_back(invent: Invent, tmp_path: Path):
    comparison = invent()
    write_report(comparison, str(tmp_path / "run"))
    assert sorted(file.name for file in (tmp_path / "run").iterdir()) == ["report.html", "report.json", "report.md"]
    assert read_report(str(tmp_path / "run")) == comparison


def test_runs_are_compared_in_one_table(invent: Invent, tmp_path: Path):
    first, second = fill(invent()), invent(seeds=1).model_copy(update={"name": "other"})
    keep(first, tmp_path / "1")
    keep(second, tmp_path / "2")
    lines = printed(compare_runs([str(tmp_path / "1"), str(tmp_path / "2")]))
    assert max(len(line.rstrip()) for line in lines) <= 100
    text = " ".join(" ".join(lines).split())
    assert text.count("student, no KD") == 2
    assert f"reviews: {first.verdict()}" in text
    assert f"other: {second.verdict()}" in text
    assert "warning" not in text


def test_runs_on_other_rows_are_told_apart(invent: Invent, tmp_path: Path):
    keep(invent(fingerprint="a"), tmp_path / "1")
    keep(invent(fingerprint="b").model_copy(update={"name": "other"}), tmp_path / "2")
    text = " ".join(" ".join(printed(compare_runs([str(tmp_path / "1"), str(tmp_path / "2")]))).split())
    assert "reviews (600 rows) and other (600 rows) were not measured on the same rows" in text


def test_the_folder_of_a_run_or_of_its_report_is_given(invent: Invent, tmp_path: Path):
    write_report(invent(), str(tmp_path / "report"))
    assert report_folder(str(tmp_path)) == report_folder(str(tmp_path / "report")) == str(tmp_path / "report")
    with pytest.raises(ConfigError, match=r"absent does not exist; give the folder of a finished run, for example runs/NAME"):
        report_folder(str(tmp_path / "absent"))


def test_a_folder_without_a_report_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"has no report\.json; give the folder of a finished run"):
        compare_runs([str(tmp_path)])
    with pytest.raises(ConfigError, match="no run to report on"):
        compare_runs([])
