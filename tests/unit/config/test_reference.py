"""The configuration's page says what the configuration says."""

from pathlib import Path

from raykd.config.reference import document

PAGE = Path(__file__).parents[3] / "docs" / "configuration.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == document(), "run `python -m raykd.config.reference > docs/configuration.md`"


def test_every_key_is_explained() -> None:
    rows = [line for line in document().splitlines() if line.startswith("| `") and not line.startswith("| `kind`")]
    assert len(rows) > 50
    assert not [row for row in rows if row.split(" | ")[-1].strip(" |") == ""]
