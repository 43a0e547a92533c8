"""EasyNLP's files of Meta-KD: ``train.embeddings.tsv`` and ``train_with_weights.tsv``, read and written row by row.

Columns ``guid text_a text_b label domain`` and then ``embeddings`` (numbers joined by spaces) or ``weight``, under a header.
Nothing is quoted. The second text of a single text is empty in every file; EasyNLP wrote the word ``None`` into some.
"""

import uuid
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raykd.data import storage
from raykd.data.readers import read_chunk, scan
from raykd.data.side_tables import SideTable, logits_numpy
from raykd.errors import DataError
from raykd.metakd.embeddings import EMBEDDING
from raykd.metakd.prototypes import Prototypes, ScoreKind, scores

COLUMNS = ("guid", "text_a", "text_b", "label", "domain")
_BLOCK = 1024
"""Rows that are scored at once."""


@dataclass(frozen=True)
class TextRow:
    """A row without its last column."""

    guid: str
    text_a: str
    text_b: str
    label: str
    domain: str


def row_guid(number: int, text: str) -> str:
    """A name for a row that is the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{number}\t{text}"))


def write_file(rows: Iterable[tuple[TextRow, str]], path: str, *, last: str) -> None:
    """Write rows with their last column, whose name is ``last``."""
    with storage.open_output(path) as stream:
        stream.write(("\t".join((*COLUMNS, last)) + "\n").encode())
        for row, value in rows:
            stream.write("\t".join((row.guid, row.text_a, row.text_b, row.label, row.domain, value)).encode() + b"\n")


def read_file(path: str) -> Iterator[tuple[str, TextRow, str]]:
    """``file:line``, row and last column of every row; memory is one row. Raises DataError for another number of columns."""
    for chunk in scan([path], skip_header=True):
        for raw in read_chunk(chunk):
            where = f"{path}:{raw.line}"
            cells = raw.data.decode("utf-8", errors="replace").split("\t")
            if len(cells) != len(COLUMNS) + 1:
                raise DataError(f"{where}: {len(cells)} columns, where {', '.join(COLUMNS)} and one more are needed")
            text_b = "" if cells[2] == "None" else cells[2]
            yield where, TextRow(cells[0], cells[1], text_b, cells[3], cells[4]), cells[5]


def write_embeddings(rows: Iterable[TextRow], table: SideTable, path: str) -> None:
    """Write ``train.embeddings.tsv`` from rows in the order of ``table``. Raises DataError when their numbers differ."""

    def values() -> Iterator[str]:
        for group in range(len(table.group_rows)):
            for vector in logits_numpy(table.read_group(group, [EMBEDDING])[EMBEDDING]):
                yield " ".join(map(str, vector))

    try:
        write_file(zip(rows, values(), strict=True), path, last="embeddings")
    except ValueError:
        raise DataError(f"{table.path} has other rows than are to be written; embed the same file") from None


def write_weights(
    embeddings: str, path: str, *, domains: Sequence[str], kind: ScoreKind = "paper", alpha: float = 0.5
) -> Prototypes:
    """``train.embeddings.tsv`` to ``train_with_weights.tsv``: two passes over the file, memory flat in its rows.

    Raises DataError with file and line: a domain that is not one of ``domains``, numbers that are none or of another width.
    """
    labels = _labels(embeddings)
    found: Prototypes | None = None
    for rows, domain_ids, label_ids, vectors in _blocks(embeddings, domains, labels):
        del rows
        part = Prototypes.of(vectors, domain_ids, label_ids, domains=len(domains), labels=len(labels))
        found = part if found is None else found + part
    if found is None:
        raise DataError(f"{embeddings} has no rows under its header")
    found.check(domains, labels)
    total = found

    def weighed() -> Iterator[tuple[TextRow, str]]:
        for rows, domain_ids, label_ids, vectors in _blocks(embeddings, domains, labels):
            yield from zip(rows, map(str, scores(vectors, domain_ids, label_ids, total, kind=kind, alpha=alpha)), strict=True)

    write_file(weighed(), path, last="weight")
    return total


def _labels(path: str) -> tuple[str, ...]:
    return tuple(sorted({row.label for _, row, _ in read_file(path)}))


Block = tuple[list[TextRow], NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]


def _blocks(path: str, domains: Sequence[str], labels: Sequence[str]) -> Iterator[Block]:
    """Rows, domain ids, label ids and vectors ``[n, H]`` of up to ``_BLOCK`` rows at a time."""
    rows: list[TextRow] = []
    vectors: list[NDArray[np.float32]] = []
    width: int | None = None
    for where, row, value in read_file(path):
        if row.domain not in domains:
            raise DataError(f"{where}: domain {row.domain!r} is not one of {', '.join(domains)}")
        vector = _vector(value, where)
        width = len(vector) if width is None else width
        if len(vector) != width:
            raise DataError(f"{where}: an embedding of {len(vector)} numbers, where the rows before have {width}")
        rows.append(row)
        vectors.append(vector)
        if len(rows) == _BLOCK:
            yield _block(rows, vectors, domains, labels)
            rows, vectors = [], []
    if rows:
        yield _block(rows, vectors, domains, labels)


def _block(rows: list[TextRow], vectors: list[NDArray[np.float32]], domains: Sequence[str], labels: Sequence[str]) -> Block:
    domain_ids = np.array([domains.index(row.domain) for row in rows], np.int32)
    return rows, domain_ids, np.array([labels.index(row.label) for row in rows], np.int32), np.stack(vectors)


def _vector(value: str, where: str) -> NDArray[np.float32]:
    try:
        vector = np.array(value.split(), dtype=np.float32)
    except ValueError:
        raise DataError(f"{where}: {value[:40]!r} is not a row of numbers") from None
    if not np.isfinite(vector).all():
        raise DataError(f"{where}: an embedding has a number that is not finite")
    return vector
