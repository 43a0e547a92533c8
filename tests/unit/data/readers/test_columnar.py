"""Values of typed columns, and those that Python cannot hold."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raykd.data.answer_files import read_answers
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.readers import FileFormat
from raykd.data.readers.columnar import ColumnarReader, rows_of
from raykd.errors import DataError

BY_NAME = FileFormat(None, named=True)
TEXTS = pa.StringArray.from_buffers(3, pa.array([0, 4, 5, 8], pa.int32()).buffers()[1], pa.py_buffer(b"good\xffbad"))
"""Its second text is not UTF-8."""
TABLE = pa.table({"text": TEXTS, "label": ["pos", "pos", "neg"]})


def write(path: Path, table: pa.Table) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with pa.ipc.new_file(str(path), table.schema) as writer:
            writer.write_table(table)
    return path


@pytest.mark.parametrize(
    ("column", "reason"),
    [
        (TEXTS, r"is not UTF-8 text: invalid start byte \(byte 0xff at position 0\); write it as UTF-8"),
        (pa.ListArray.from_arrays([0, 1, 2, 3], TEXTS), "is not UTF-8 text"),
        (pa.DictionaryArray.from_arrays(pa.array([0, 1, 2]), TEXTS), "is not UTF-8 text"),
        (pa.array([[("a", 1)], [("a", 1), ("a", 2)], []], pa.map_(pa.string(), pa.int64())), "is a map in which a key stands"),
        (pa.array([1, 10**9, 2], pa.int32()).cast(pa.date32()), r"has a value that Python does not hold \('days=10"),
        (pa.array([1, 10**15, 2], pa.timestamp("s")), "has a value that Python does not hold"),
    ],
)
def test_a_row_that_does_not_convert_is_an_error_alone(column: pa.Array, reason: str) -> None:
    batch = pa.record_batch([column, pa.array([1, 2, 3])], names=["text", "number"])
    rows = list(rows_of([batch, batch], ["number", "text"], 5))
    assert [row.row for row in rows] == [5, 6, 7, 8, 9, 10]
    assert [row.data[0] for row in rows if not isinstance(row.data, DataError)] == [1, 3, 1, 3]
    with pytest.raises(DataError, match=f"column 'text' {reason}"):
        ColumnarReader.cells(None, rows[1].data, ["number", "text"])  # type: ignore[arg-type]  # no field of it is read


@pytest.mark.parametrize(
    ("name", "place"), [("a.parquet", r"row group 0, row 1 \(both from 0\)"), ("a.arrow", r"row 1 \(from 0\)")]
)
def test_text_that_is_not_utf8_is_a_rejected_row(name: str, place: str, spec: PrepareSpec, tmp_path: Path) -> None:
    path = write(tmp_path / name, TABLE)
    given = replace(spec, files=(str(path),), input_schema=None, format=BY_NAME)
    with pytest.raises(DataError, match=rf"{name}, {place}: column 'text' is not UTF-8 text: .*; write it as UTF-8; correct"):
        prepare(given, str(tmp_path / "cache"))
    kept = prepare(replace(given, max_rejected_rows=1), str(tmp_path / "cache"))
    assert (kept.num_rows, kept.rejected) == (2, 1)
    assert kept.read_group(0, ["row", "label"]).to_pydict() == {"row": [0, 2], "label": [1, 0]}


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (pa.array([[("neg", 0.1), ("neg", 0.9)]], pa.map_(pa.string(), pa.float64())), "is a map in which a key stands twice"),
        (TEXTS.slice(1, 1), "is not UTF-8 text"),
    ],
)
def test_answers_that_do_not_convert_are_named(answers: Any, reason: str, tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", pa.table({"logits": answers}))
    with pytest.raises(DataError, match=rf"a\.parquet, row 0 \(from 0\): column 'logits' {reason}"):
        list(read_answers(str(path), column=0, key=None, votes=False))
