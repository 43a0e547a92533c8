"""Names of file formats, and the names of files that have them."""

from collections.abc import Mapping
from typing import Literal

FormatName = Literal["tsv", "csv", "jsonl", "parquet", "arrow"]
SUFFIXES: Mapping[FormatName, tuple[str, ...]] = {
    "tsv": (".tsv",),
    "csv": (".csv",),
    "jsonl": (".jsonl", ".ndjson"),
    "parquet": (".parquet",),
    "arrow": (".arrow", ".feather"),
}
"""Ends of file names, without that of a compression; other names are TSV."""
COMPRESSED = (".gz", ".zst")
"""Ends of the names of compressed files."""


def uncompressed_name(path: str) -> str:
    """The name without the ending of a compression."""
    return next((path.removesuffix(suffix) for suffix in COMPRESSED if path.endswith(suffix)), path)
