"""Labels of a job that lists none: the distinct values of the label column, found in one pass over the files."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from raykd.config import DataConfig
from raykd.data import storage
from raykd.data.cell_values import MAX_DIGITS, integer_text
from raykd.data.examples import RowParser
from raykd.data.first_rows import text_parser
from raykd.data.headers import check_files
from raykd.data.prepare_spec import file_format
from raykd.data.readers import reader_of
from raykd.data.schema import InputSchema
from raykd.data.sources import find_sources
from raykd.data.splits import normalise_text
from raykd.errors import DataError, shorten

MAX_LABELS = 1000
"""Most distinct values of a column of labels: more are texts, numbers or ids."""
SHOWN_LABELS = 20
"""Labels that a message lists."""
_INTEGER = re.compile(r"[+-]?\d+")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def find_labels(data: DataConfig, cache: str) -> dict[str, int]:
    """Labels of the training files with their rows, sorted: numerically where all are integers. Counts are kept in ``cache``.

    Rows that do not parse and empty labels are passed over, since preparing names them. Raises DataError for no label or one,
    more than ``MAX_LABELS``, labels that differ in white space or case alone, numbers that are not whole, and labels that only
    validation or test files have; ConfigError when settings do not fit the files.
    """
    counts = _count(data, data.train, cache, "data.train")
    if len(counts) == 1:
        raise DataError(
            f"data.train has one label alone in column {data.label!r}: {list_labels(counts)}; a classifier needs two at least, "
            "add rows of others, name another column, or list data.labels"
        )
    _check_spelling(counts)
    if data.traits.outputs == "classes":
        _check_numbers(data.label, counts)
    for name, files in (("data.validation", data.validation), ("data.test", data.test)):
        if isinstance(files, tuple):
            others = _count(data, files, cache, name)
            unknown = {label: rows for label, rows in others.items() if label not in counts}
            if unknown:
                raise DataError(
                    f"{name} has labels that data.train does not have: {list_labels(unknown)}; add training rows of each, "
                    "remove these rows, or list data.labels"
                )
    order = int if all(_INTEGER.fullmatch(label) and len(label) <= MAX_DIGITS for label in counts) else str
    return {label: counts[label] for label in sorted(counts, key=order)}


def list_labels(counts: Mapping[str, int]) -> str:
    """The first labels with their rows: ``neg 10, pos 12``."""
    shown = [f"{label} {rows:,}" for label, rows in list(counts.items())[:SHOWN_LABELS]]
    hidden = len(counts) - len(shown)
    return ", ".join(shown) + (f" and {hidden:,} more" if hidden else "")


@dataclass(frozen=True)
class _LabelTexts:
    """Codec that keeps the texts of the labels of a cell."""

    separator: str
    names: tuple[str, ...] = ()

    @property
    def identity(self) -> dict[str, Any]:
        """Nothing is stored."""
        return {}

    def parse(self, cell: str) -> Sequence[str]:
        """Texts that are not empty, integers without a fraction."""
        cells = cell.split(self.separator) if self.separator else (cell,)
        return [integer_text(one) for one in cells if one]

    def column(self, values: Sequence[Any]) -> pa.Array:
        """Never called: nothing is stored."""
        raise NotImplementedError(f"{len(values)} labels that are counted only")


def _count(data: DataConfig, files: Sequence[str], cache: str, name: str) -> dict[str, int]:
    sources = find_sources(files, data.skip_header, cache, files=file_format(data))
    columns = (data.input_schema, data.first_sequence, data.second_sequence, data.label, data.traits.separator)
    key = json.dumps([[chunk.digest for chunk in sources.chunks], columns, repr(file_format(data))])
    kept = storage.join(cache, "labels", f"{hashlib.blake2b(key.encode(), digest_size=16).hexdigest()}.json")
    schema = InputSchema.of(data.input_schema, columns[1:4])
    parser = RowParser(
        schema,
        first_sequence=data.first_sequence,
        second_sequence=data.second_sequence,
        label=data.label,
        codec=_LabelTexts(data.traits.separator),
    )
    # without labels: any text may be one here, so that a header looks like a row; preparing knows them
    texts = text_parser(data.input_schema, data.first_sequence, data.second_sequence)
    check_files([file.path for file in sources.files], schema, texts, file_format(data), skip_header=data.skip_header)
    if storage.exists(kept):  # after the check: a header that is skipped is not part of the key
        return dict(storage.read_json(kept))
    counts: Counter[str] = Counter()
    problem = None
    for chunk in sources.chunks:
        reader = reader_of(chunk.path, file_format(data))
        for row in reader.read(chunk, parser.names):
            try:
                counts.update(parser.parse(row.data, reader).label)
            except DataError as error:
                problem = problem or f"{reader.place(chunk.path, row)}: {error}"
            if len(counts) > MAX_LABELS:
                raise DataError(
                    f"{name}: column {data.label!r} has more than {MAX_LABELS:,} labels ({list_labels(counts)}); name the "
                    "column of the labels, set data.task to regression for numbers, or list data.labels"
                )
    if not counts and name == "data.train":
        found = "every label is empty" if sources.chunks else f"there is no row in {', '.join(files)}"
        raise DataError(f"{name} has no label in column {data.label!r}: {problem or found}; name other files or another column")
    storage.write_json(kept, counts)
    return dict(counts)


def _check_spelling(counts: Mapping[str, int]) -> None:
    """Raise DataError for labels that are likely to mean the same."""
    spellings: dict[str, dict[str, int]] = {}
    for label, rows in counts.items():
        spellings.setdefault(normalise_text(label), {})[label] = rows
    same = next((group for group in spellings.values() if len(group) > 1), None)
    if same is not None:
        shown = ", ".join(f"{shorten(label)} {rows:,}" for label, rows in same.items())
        raise DataError(
            f"data.train has labels that differ in white space or case alone: {shown}; spell them alike, or list data.labels"
        )


def _check_numbers(column: str | None, counts: Mapping[str, int]) -> None:
    """Raise DataError when all labels are numbers, but not all of them whole."""
    parts = {label: rows for label, rows in counts.items() if not _INTEGER.fullmatch(label)}
    if parts and all(map(_NUMBER.fullmatch, counts)):
        raise DataError(
            f"column {column!r} of data.train holds numbers that are not whole ({list_labels(parts)}); set data.task to "
            "regression, or list data.labels to take them as names of classes"
        )
