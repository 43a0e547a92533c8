"""Reports in Markdown."""

import re
from collections.abc import Callable

from raykd.report.comparison import Comparison
from raykd.report.markdown import markdown, markdown_table
from tests.unit.report.comparisons import fill

Invent = Callable[..., Comparison]


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
