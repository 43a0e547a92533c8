"""Preparation of the same rows from each file format, in one process, against the tokenizer alone on the same texts.

Called by ``python -m benchmarks.streaming --formats tsv csv quoted-csv jsonl parquet arrow --sizes 100000``.
"""

import csv
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

LABELS = ("0", "1")
LENGTH = 64
_BATCH = 2048

Rows = list[tuple[str, str]]


def _write_tsv(path: Path, rows: Rows) -> None:
    with path.open("w") as file:
        file.writelines(f"{text}\t{label}\n" for text, label in rows)


def _write_csv(path: Path, rows: Rows, *, quoting: int) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=quoting).writerows([("text", "label"), *rows])  # type: ignore[arg-type]


def _write_jsonl(path: Path, rows: Rows) -> None:
    with path.open("w") as file:
        file.writelines(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows)


def _write_columns(path: Path, rows: Rows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]})
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=20_000)
        return
    with pa.ipc.new_stream(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=1000)


FORMATS: dict[str, tuple[str, Callable[[Path, Rows], None]]] = {
    "tsv": (".tsv", _write_tsv),
    "csv": (".csv", lambda path, rows: _write_csv(path, rows, quoting=csv.QUOTE_MINIMAL)),
    "quoted-csv": (".csv", lambda path, rows: _write_csv(path, rows, quoting=csv.QUOTE_ALL)),
    "jsonl": (".jsonl", _write_jsonl),
    "parquet": (".parquet", _write_columns),
    "arrow": (".arrow", _write_columns),
}
"""Ending and writer of each format."""


def compare_formats(names: Sequence[str], source: str, model: str, folder: Path) -> Iterator[tuple[str, float, float]]:
    """Format, rows/s of preparing the rows of the TSV file ``source``, and the ratio to the tokenizer alone.

    The tokenizer is measured before and after each format; its mean is compared.
    """
    lines = Path(source).read_text().splitlines()
    rows = [(text, label) for text, _, label in (line.partition("\t") for line in lines)]
    texts = [text for text, _ in rows]
    for name in names:
        suffix, write = FORMATS[name]
        path = folder / f"{name}{suffix}"
        write(path, rows)
        before = _bare(texts, model, folder)
        rate = _prepared(path, model, folder, len(rows))
        bare = (before + _bare(texts, model, folder)) / 2
        yield name, rate, rate / bare


def _bare(texts: list[str], model: str, folder: Path) -> float:
    from raykd.data.tokenizer import load_row_tokenizer

    tokenizer = load_row_tokenizer(model, str(folder))
    began = time.perf_counter()
    for start in range(0, len(texts), _BATCH):
        tokenizer.encode(texts[start : start + _BATCH], sequence_length=LENGTH)
    return len(texts) / (time.perf_counter() - began)


def _prepared(path: Path, model: str, folder: Path, rows: int) -> float:
    from raykd.data.prepare import prepare
    from raykd.data.prepare_spec import PrepareSpec
    from raykd.data.readers import FileFormat
    from raykd.task_kinds import SINGLE_LABEL

    named = path.suffix != ".tsv"
    spec = PrepareSpec(
        files=(str(path),), input_schema=None if named else "text:str:1,label:str:1", first_sequence="text",
        second_sequence=None, label="label", skip_header=False, codec=SINGLE_LABEL.label_codec(LABELS),
        sequence_length=LENGTH, max_rejected_rows=0, tokenizer=model, keep=None, format=FileFormat(None, named=named),
    )  # fmt: skip
    cache = folder / "formats-cache"
    shutil.rmtree(cache, ignore_errors=True)
    began = time.perf_counter()
    if prepare(spec, str(cache)).num_rows != rows:
        raise AssertionError(f"{path} gave another number of rows than {rows}")
    return rows / (time.perf_counter() - began)
