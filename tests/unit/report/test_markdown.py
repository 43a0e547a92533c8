"""Reports in Markdown."""

import re
from collections.abc import Callable

from raykd.report.comparison import Comparison
from raykd.report.footprint import Footprint
from raykd.report.latency import Latency
from raykd.report.markdown import markdown, markdown_table
from raykd.report.system import beside_teacher

Invent = Callable[..., Comparison]


def fill(comparison: Comparison) -> Comparison:
    """With every column that a table can have."""
    speed = Latency(p50_ms=12.5, p99_ms=120.25, rows_per_second=1234.5, batch_size=32, single_rows=9, threads=1)
    update = {"footprint": Footprint(parameters=109_483_778, bytes_on_disk=438_000_000), "latency": speed}
    systems = [one.model_copy(update=update) for one in comparison.systems]
    systems = [systems[0], *(beside_teacher(one, systems[0], comparison.headline) for one in systems[1:])]
    return comparison.model_copy(update={"systems": tuple(systems), "warnings": ("the teacher knows its rows by heart",)})


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
