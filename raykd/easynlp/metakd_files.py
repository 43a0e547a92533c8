"""Scripts that write files: split, embeddings, weights, dev rows. Memory does not grow with the rows, except for the split."""

import logging
import os
import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Literal

from raykd.data import storage
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.easynlp.metakd_rows import table_cells
from raykd.easynlp.ray_workers import connected
from raykd.easynlp.settings import Workers
from raykd.errors import ConfigError, DataError
from raykd.metakd.easynlp_files import TextRow, read_file, row_guid, write_embeddings, write_file, write_weights
from raykd.metakd.embeddings import Embedder
from raykd.metakd.prototypes import ScoreKind
from raykd.metakd.reviews import read_reviews, split_reviews, without_duplicates, write_reviews
from raykd.predict import ScoreJob
from raykd.run.scoring import score_models

log = logging.getLogger(__name__)

Layout = Literal["senti", "mnli"]
_COLUMNS = {"senti": 3, "mnli": 11}
"""Minimum number of columns of a row."""
_SCHEMA = "guid:str:1,text_a:str:1,text_b:str:1,label:str:1,domain:str:1,value:str:1"


def split(folder: str, out: str, *, remove_duplicates: bool) -> None:
    """Write raw reviews to ``out/{train,dev,test}.tsv``, in the paper's sizes."""
    reviews = read_reviews(folder)
    splits = split_reviews(without_duplicates(reviews) if remove_duplicates else reviews)
    for name, rows in {"train": splits["train"], "dev": splits["validation"], "test": splits["test"]}.items():
        write_reviews(rows, storage.join(out, f"{name}.tsv"), header=True)
        counts = Counter(review.domain for review in rows)
        log.info("%s: %d rows, %s", name, len(rows), ", ".join(f"{domain} {n}" for domain, n in sorted(counts.items())))


def embed(path: str, out: str, *, encoder: str, layout: Layout, sequence_length: int, batch_rows: int) -> None:
    """Write the embedding of every row by a frozen encoder. Raises DataError with file and line."""
    from raykd.easynlp.model_names import resolve_model

    if sequence_length < 4 or batch_rows < 1:
        raise ConfigError(f"--max_seq_length={sequence_length} --batch_size={batch_rows}: at least 4, and at least 1")
    model = resolve_model(encoder)
    work = storage.join(storage.absolute(os.path.dirname(out) or "."), f".raykd-{uuid.uuid4().hex[:12]}")
    rows = storage.join(work, "rows.tsv")
    try:
        write_file(((row, "") for row in _rows(path, layout)), rows, last="value")
        with connected(Workers(1, gpu=True), "fp32") as compute:
            prepared = prepare(_spec(rows, model, sequence_length, paired=layout == "mnli"), storage.join(work, "cache"))
            job = ScoreJob(model, prepared.path, storage.join(work, "embeddings"))
            (table,) = score_models([job], compute, batch_rows=batch_rows, scorer=Embedder)
        write_embeddings((row for _, row, _ in read_file(rows)), table, out)
    finally:
        storage.remove(work)
    log.info("%d rows embedded to %s", prepared.num_rows, out)


def _spec(rows: str, tokenizer: str, sequence_length: int, *, paired: bool) -> PrepareSpec:
    return PrepareSpec(
        files=(rows,),
        input_schema=_SCHEMA,
        first_sequence="text_a",
        second_sequence="text_b" if paired else None,
        label=None,
        codec=None,
        skip_header=True,
        sequence_length=sequence_length,
        max_rejected_rows=0,
        tokenizer=tokenizer,
        keep=None,
    )


def _rows(path: str, layout: Layout) -> Iterator[TextRow]:
    """The rows under a header: review, domain and sentiment, or MNLI's own columns."""
    for where, row, cells in table_cells(path, _COLUMNS[layout], "split at tabs"):
        if layout == "senti":
            if len(cells) != _COLUMNS[layout]:
                raise DataError(f"{where}: {len(cells)} columns, where review, domain and sentiment are needed")
            yield TextRow(row_guid(row, cells[0]), cells[0], "", cells[2], cells[1])
        else:
            yield TextRow(cells[2], cells[8], cells[9], cells[-1], cells[3])


def weigh(embeddings: str, out: str, *, domains: Sequence[str], kind: ScoreKind, alpha: float) -> None:
    """Write the instance weights of all rows."""
    if len(domains) < 2 or len(set(domains)) != len(domains) or not all(domains):
        raise ConfigError(f"domains {','.join(domains)}: give at least two, each once, joined by commas")
    if not 0 <= alpha <= 1:
        raise ConfigError(f"--alpha={alpha:g}: the weight of the own domain's prototype lies in 0 to 1")
    found = write_weights(embeddings, out, domains=domains, kind=kind, alpha=alpha)
    log.info("%d rows weighed to %s", int(found.counts.sum()), out)


def standardise(path: str, out: str) -> None:
    """Write rows of review, domain and sentiment in the columns that training reads, with weight 0."""
    count = 0

    def rows() -> Iterator[tuple[TextRow, str]]:
        nonlocal count
        for row in _rows(path, "senti"):
            count += 1
            yield row, "0"

    write_file(rows(), out, last="weight")
    log.info("%d rows written to %s", count, out)
