"""Rows of a TSV file."""

from pathlib import Path


def read_rows(path: str) -> list[list[str]]:
    """The cells of every line."""
    return [line.split("\t") for line in Path(path).read_text().splitlines()]
