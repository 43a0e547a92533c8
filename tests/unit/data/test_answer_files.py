"""Answers read from every format, and lines that cannot be read."""

import gzip
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raykd.data.answer_files import key_text, read_answers
from raykd.errors import DataError

NUMBERS = st.dictionaries(st.text(max_size=5), st.floats(allow_nan=False, allow_infinity=False), max_size=4)
ROWS = st.lists(st.tuples(st.text(max_size=8), NUMBERS), max_size=5)


def read(path: Path, *, column: int | str = 0, key: str | None = None, votes: bool = False) -> list[tuple[str | None, Any]]:
    return [(answer.key, answer.value) for answer in read_answers(str(path), column=column, key=key, votes=votes)]


@given(ROWS, st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_jsonl_gives_back_what_was_written(tmp_path: Path, rows: list[tuple[str, dict[str, float]]], packed: bool) -> None:
    content = "".join(json.dumps({"id": key, "answer": value}, ensure_ascii=False) + "\n" for key, value in rows).encode()
    path = tmp_path / ("a.jsonl.gz" if packed else "a.jsonl")
    path.write_bytes(gzip.compress(content) if packed else content)
    assert read(path, column="answer", key="id") == rows
    assert read(path, column="answer") == [(None, value) for _, value in rows]


@given(ROWS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=20)
def test_parquet_gives_back_what_was_written(tmp_path: Path, rows: list[tuple[str, dict[str, float]]]) -> None:
    answers = pa.array([list(value.items()) for _, value in rows], pa.map_(pa.string(), pa.float64()))
    pq.write_table(pa.table({"id": pa.array([key for key, _ in rows], pa.string()), "logits": answers}), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet", key="id") == rows


def test_a_line_may_be_the_answer_itself(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('["pos", "neg"]\n{"pos": -0.1}\n')
    assert read(path) == [(None, ["pos", "neg"]), (None, {"pos": -0.1})]
    path.write_text('{"id": 7, "pos": -0.1, "neg": -2}\n')
    assert read(path, key="id") == [("7", {"pos": -0.1, "neg": -2})]


def test_cells_of_a_tsv_are_numbers_or_votes(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("x\t0.25, 0.75\nx\t1,0\n")
    assert read(tmp_path / "a.tsv", column=1) == [(None, [0.25, 0.75]), (None, [1.0, 0.0])]
    (tmp_path / "v.tsv").write_text("pos, neg,pos\n \n")
    assert read(tmp_path / "v.tsv", votes=True)[0] == (None, ["pos", "neg", "pos"])


def test_cells_of_a_csv_are_items_or_json(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('id,logits\n7,"0.25, 0.75"\nb,"{""pos"": -0.1}"\n')
    assert read(path, key="id") == [("7", [0.25, 0.75]), ("b", {"pos": -0.1})]
    path.write_text("id,answer\n7,pos\n")
    assert read(path, column="answer", votes=True) == [(None, ["pos"])]
    path.write_text("id,answer\n7,pos\n")
    with pytest.raises(DataError, match=r"a\.csv:2: 'pos' is not numbers joined by commas"):
        read(path, column="answer")
    with pytest.raises(DataError, match="there is no column 'logits', but id, answer"):
        read(path)


def test_arrow_gives_back_what_was_written(tmp_path: Path) -> None:
    table = pa.table({"id": ["a", "b"], "lp": [{"neg": -0.1, "pos": None}, {"neg": None, "pos": -0.2}]})
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    rows = [("a", {"neg": -0.1, "pos": None}), ("b", {"neg": None, "pos": -0.2})]
    assert read(tmp_path / "a.arrow", column="lp", key="id") == rows


def test_a_number_and_its_text_are_the_same_id() -> None:
    assert key_text(7) == key_text(7.0) == key_text("7") == "7"
    assert key_text(7.5) == "7.5"


@pytest.mark.parametrize(
    ("content", "options", "complaint"),
    [
        ('{"a": 1}\n{"a": \n', {}, r"a\.jsonl:2: not JSON"),
        ('\n{"a": 1}\n', {}, r"a\.jsonl:1: not JSON"),
        ('{"a": 1, "a": 2}\n', {}, r"a\.jsonl:1: key 'a' stands twice in an object; remove one"),
        ('{"a": 1}\n', {"column": "b"}, r"a\.jsonl:1: no key 'b', but 'a'"),
        ('{"a": 1}\n', {"key": "id"}, r"a\.jsonl:1: no key 'id', but 'a'"),
        ("[1, 2]\n", {"key": "id"}, r"a\.jsonl:1: .* is no object with the key 'id'"),
        ('{"id": null, "a": 1}\n', {"key": "id"}, r"a\.jsonl:1: 'None' does not name a row"),
        ('{"id": true, "a": 1}\n', {"key": "id"}, "does not name a row"),
    ],
)
def test_broken_lines_are_named(tmp_path: Path, content: str, options: dict[str, Any], complaint: str) -> None:
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(DataError, match=complaint):
        read(tmp_path / "a.jsonl", **options)


def test_blank_lines_at_the_end_are_no_answers(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": 2}\n\n\n')
    (tmp_path / "a.csv").write_text('logits\n"1,2"\n"3,4"\n\n\n')
    (tmp_path / "a.tsv").write_text("a\n\nb\n\n\r\n")
    assert read(tmp_path / "a.jsonl") == [(None, {"a": 1}), (None, {"a": 2})]
    assert read(tmp_path / "a.csv", column="logits") == [(None, [1, 2]), (None, [3, 4])]
    assert read(tmp_path / "a.tsv", votes=True) == [(None, ["a"]), (None, []), (None, ["b"])], "no votes for a row"


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("1,x\n")
    with pytest.raises(DataError, match=r"a\.tsv:1: '1,x' is not numbers"):
        read(tmp_path / "a.tsv")
    with pytest.raises(DataError, match="there is no column 3"):
        read(tmp_path / "a.tsv", column=3)
    with pytest.raises(DataError, match="counted from 0"):
        read(tmp_path / "a.tsv", column="logits")
    (tmp_path / "cut.jsonl.gz").write_bytes(gzip.compress(b'{"a": 1}\n' * 1000)[:40])
    with pytest.raises(DataError, match=r"cut\.jsonl\.gz is not a whole gzip file"):
        read(tmp_path / "cut.jsonl.gz")
    pq.write_table(pa.table({"other": [1]}), tmp_path / "a.parquet")
    with pytest.raises(DataError, match="there is no column 'logits', but other"):
        read(tmp_path / "a.parquet")
