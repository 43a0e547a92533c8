import io
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

from raykd.errors import ConfigError
from raykd.report.cells import count, size
from raykd.report.comparison import Comparison
from raykd.report.files import compare_runs, read_report, write_report
from raykd.report.footprint import Footprint
from raykd.report.html import html
from raykd.report.latency import Latency
from raykd.report.markdown import markdown, markdown_table
from raykd.report.plots import curve_plot, metric_plot, reliability_plot
from raykd.report.system import beside_teacher
from raykd.report.terminal import render
from raykd.task_kinds import SINGLE_LABEL

Invent = Callable[..., Comparison]


def fill(comparison: Comparison) -> Comparison:
    """With every column that a table can have."""
    speed = Latency(p50_ms=12.5, p99_ms=120.25, rows_per_second=1234.5, batch_size=32, single_rows=9, threads=1)
    update = {"footprint": Footprint(parameters=109_483_778, bytes_on_disk=438_000_000), "latency": speed}
    systems = [one.model_copy(update=update) for one in comparison.systems]
    systems = [systems[0], *(beside_teacher(one, systems[0], comparison.headline) for one in systems[1:])]
    return comparison.model_copy(update={"systems": tuple(systems), "warnings": ("the teacher knows its rows by heart",)})


def keep(comparison: Comparison, folder: Path) -> None:
    """Write the file that ``compare_runs`` reads, without the plots."""
    folder.mkdir()
    (folder / "report.json").write_text(comparison.model_dump_json())


def printed(renderable: object) -> list[str]:
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(renderable)
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined]


def test_terminal_table_fits_and_the_verdict_is_last(invent: Invent):
    comparison = fill(invent())
    console = Console(width=100, file=io.StringIO(), color_system=None)
    console.print(render(comparison))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    assert max(len(line.rstrip()) for line in lines) <= 100
    table = [line for line in lines if re.match(r" (teacher|student)", line)]
    assert [line.split("  ")[0].strip() for line in table] == ["teacher", "student, no KD", "student, KD"]
    assert all("109.5 M" in line and "438.0 MB" in line for line in table)
    text = " ".join(line.strip() for line in lines)
    assert text.endswith(comparison.verdict())
    assert "warning: the teacher knows its rows by heart" in text


def test_columns_without_figures_are_left_out(invent: Invent):
    text = "\n".join(markdown_table(invent()).splitlines())
    assert "accuracy %" in text
    assert not any(word in text for word in ("params", "size", "speed"))
    assert "params" in markdown_table(fill(invent()))


def test_one_seed_has_no_spread_in_the_table(invent: Invent):
    assert "±" not in markdown_table(invent(seeds=1))
    assert markdown_table(invent(seeds=3)).count("±") == 2


def test_markdown_says_everything(invent: Invent):
    comparison = fill(invent(environment={"command": "raykd run job.yaml"}))
    text = markdown(comparison)
    assert text.startswith(f"# reviews\n\n**{comparison.verdict()}**")
    for part in (
        "> Warning: the teacher",
        "## Differences",
        "## All metrics",
        "## Per class",
        "## Speed",
        "raykd run job.yaml",
    ):
        assert part in text
    tables = [block for block in text.split("\n\n") if block.startswith("|")]
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1


def test_label_names_cannot_break_the_documents(invent: Invent):
    comparison = invent(names=("<script>alert(1)</script>", "a|b"), environment={"command": "<b>"})
    assert "a\\|b" in markdown(comparison)
    page = html(comparison)
    assert "<script" not in page
    assert "&lt;script&gt;" in page


class Page(HTMLParser):
    """Addresses that a browser would load, and tags that are not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: set[str] = set()
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_one_whole_file_with_the_verdict_on_top(invent: Invent):
    comparison = fill(invent())
    text = html(comparison)
    page = Page()
    page.feed(text)
    assert page.open == []
    assert len(page.addresses) == 3
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert not page.tags & {"script", "link", "iframe"}
    assert "@import" not in text
    assert "url(" not in text
    assert text.index(comparison.verdict()) < text.index("<table>")
    assert 'class="verdict better"' in text


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
    keep(invent(rows_fingerprint="a"), tmp_path / "1")
    keep(invent(rows_fingerprint="b").model_copy(update={"name": "other"}), tmp_path / "2")
    text = " ".join(" ".join(printed(compare_runs([str(tmp_path / "1"), str(tmp_path / "2")]))).split())
    assert "reviews (600 rows) and other (600 rows) were not measured on the same rows" in text


def test_a_folder_without_a_report_is_named(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"has no report\.json; give the folder of a finished run"):
        compare_runs([str(tmp_path)])
    with pytest.raises(ConfigError, match="no run to report on"):
        compare_runs([])


def test_numbers_read_well():
    assert [count(number) for number in (7, 1_500, 109_483_778, 2e9)] == ["7", "1.5 k", "109.5 M", "2.0 G"]
    assert [size(number) for number in (7, 3_290_886)] == ["7 B", "3.3 MB"]
    shown = [SINGLE_LABEL.headline.difference(value) for value in (0.0351, -0.0351, 0.0, -0.0001)]
    assert shown == [
        "+3.5",
        "−3.5",
        "+0.0",
        "+0.0",
    ]
