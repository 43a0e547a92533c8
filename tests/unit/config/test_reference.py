"""docs/configuration.md describes the configuration of every kind of job."""

import re
from pathlib import Path

from raykd.config.reference import TITLES, document

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == document(), "run `python -m raykd.config.reference`"


def test_every_kind_of_job_and_every_key_is_explained() -> None:
    lines = document().splitlines()
    assert {f"## {title}" for title in TITLES.values()} <= set(lines)
    rows = [line for line in lines if line.startswith("| `") and not line.startswith("| `kind`")]
    assert len(rows) > 130
    assert not [row for row in rows if row.split(" | ")[-1].strip(" |") == ""]


def test_every_link_has_its_heading() -> None:
    page = document()
    headings = [line.lstrip("# ") for line in page.splitlines() if line.startswith("##")]
    anchors = [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings]
    assert len(set(anchors)) == len(anchors)
    assert set(re.findall(r"\]\(#([^)]*)\)", page)) <= set(anchors)


def test_null_is_called_null() -> None:
    """YAML's empty value is `null`; `none` would be read as text."""
    rows = [line for line in document().splitlines() if line.startswith("| `")]
    assert not [row for row in rows if re.search(r"[;,] none\b|None has|^none ", row.split(" | ")[-1])]
