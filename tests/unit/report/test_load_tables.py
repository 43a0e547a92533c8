"""Labels and logits come from storage in row order, over several parts and row groups."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raykd.data.parquet_files import write_part
from raykd.data.side_tables import commit, logits_array
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError
from raykd.report.comparison import Entry, compare
from raykd.report.load_tables import load_labels, load_logits
from raykd.report.system import Task
from raykd.task_kinds import SINGLE_LABEL

GROUPS = ((3, 2), (4,))
LABELS = np.array([0, 1, 1, 0, 1, 0, 0, 1, 1])
LOGITS = np.arange(18, dtype=np.float32).reshape(9, 2)


def prepared(folder: Path, *, labelled: bool = True, name: str = "rows") -> TokenisedSet:
    parts, row, group = [], 0, 0
    for sizes in GROUPS:
        tables = []
        for size in sizes:
            columns = {"shard": pa.array(np.zeros(size, np.int32)), "row": pa.array(np.arange(row, row + size))}
            if labelled:
                columns["label"] = pa.array(LABELS[row : row + size].astype(np.int32))
            tables.append(pa.table(columns))
            row += size
        parts.append(write_part(str(folder), group, tables))
        group += len(sizes)
    rows = TokenisedSet(
        path=str(folder), fingerprint="t", rows_fingerprint=name, labels=("neg", "pos") if labelled else None, pad_token_id=0,
        has_token_types=False, max_length=1, sources=(), read=row, rejected=0, filtered=0, parts=tuple(parts),
    )  # fmt: skip
    rows.save()
    return rows


def side_table(folder: Path, rows: TokenisedSet) -> str:
    parts, row, group = [], 0, 0
    for sizes in GROUPS:
        tables = []
        for size in sizes:
            ids = {"shard": pa.array(np.zeros(size, np.int32)), "row": pa.array(np.arange(row, row + size))}
            tables.append(pa.table({**ids, "logits": logits_array(LOGITS[row : row + size])}))
            row += size
        parts.append(write_part(str(folder), group, tables))
        group += len(sizes)
    commit(str(folder), rows, parts, ["logits"], {})
    return str(folder)


def test_row_order_is_kept(tmp_path: Path):
    rows = prepared(tmp_path / "rows")
    table = side_table(tmp_path / "logits", rows)
    assert load_labels(rows.path).tolist() == LABELS.tolist()
    assert np.array_equal(load_logits(table, prepared=rows.path), LOGITS)


def test_a_comparison_reads_side_tables(tmp_path: Path):
    rows = prepared(tmp_path / "rows")
    table = side_table(tmp_path / "logits", rows)
    stored = compare([Entry("teacher", "t", 1, table)], Task(SINGLE_LABEL, load_labels(rows.path), ("neg", "pos")), name="run")
    given = compare([Entry("teacher", "t", 1, LOGITS)], Task(SINGLE_LABEL, LABELS, ("neg", "pos")), name="run")
    assert stored == given


def test_unlabelled_rows_cannot_be_measured_on(tmp_path: Path):
    with pytest.raises(DataError, match=r"has no labels.*name the label column"):
        load_labels(prepared(tmp_path / "rows", labelled=False).path)


def test_logits_of_other_rows_are_refused(tmp_path: Path):
    table = side_table(tmp_path / "logits", prepared(tmp_path / "rows"))
    with pytest.raises(DataError, match="made for other rows"):
        load_logits(table, prepared=prepared(tmp_path / "others", name="others").path)
