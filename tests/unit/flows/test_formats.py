"""The same rows in every format: equal tokens, row ids and labels; errors name file and line, or row group and row."""

import csv
import gzip
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from raykd.data.headers import check_skip_header
from raykd.data.prepare import check_sources, prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.readers import FileFormat, reader_of, scan
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ConfigError, DataError
from raykd.task_kinds import SINGLE_LABEL, task_kind
from tests.labelled_texts import labelled_texts
from tests.unit.data.conftest import write_tokenizer

Row = tuple[str, str]
BY_NAME = FileFormat(None, named=True)
PIECES = [
    "good",
    "bad",
    "film",
    " ",
    ",",
    '"',
    '""',
    "\t",
    "\n",
    "\r\n",
    "\r",
    "\u2028",
    "\x0b",
    "😀",
    "é",
    "\x00",
    "\\",
    "a" * 5000,
    "'",
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=6).map("".join) | st.text(max_size=20)
ROWS = st.lists(st.tuples(TEXTS, st.sampled_from(["neg", "pos"])), min_size=1, max_size=12)


@pytest.fixture
def spec(tmp_path: Path) -> PrepareSpec:
    """Single texts with labels neg and pos, from ``rows.tsv``."""
    return labelled_texts(tmp_path / "rows.tsv", write_tokenizer(tmp_path / "tokenizer"))


def write_csv(path: Path, rows: Sequence[Row]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as stream:
        csv.writer(stream).writerows([("label", "text"), *((label, text) for text, label in rows)])
    return path


def write_jsonl(path: Path, rows: Sequence[Row]) -> Path:
    lines = (json.dumps({"label": label, "text": text}, ensure_ascii=False) + "\n" for text, label in rows)
    path.write_bytes("".join(lines).encode())
    return path


def table_of(rows: Sequence[Row]) -> pa.Table:
    return pa.table({"text": [text for text, _ in rows], "label": [label for _, label in rows]})


def write_parquet(path: Path, rows: Sequence[Row]) -> Path:
    pq.write_table(table_of(rows), path, row_group_size=3)
    return path


def write_arrow(path: Path, rows: Sequence[Row]) -> Path:
    """A folder as ``save_to_disk`` of Hugging Face datasets writes it."""
    path.mkdir(exist_ok=True)
    table = table_of(rows)
    with pa.ipc.new_stream(str(path / "data-00000-of-00001.arrow"), table.schema) as writer:
        writer.write_table(table, max_chunksize=3)
    (path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    return path


def write_zst(path: Path, rows: Sequence[Row]) -> Path:
    plain = write_jsonl(path.with_suffix(""), rows)
    with pa.CompressedOutputStream(str(path), "zstd") as stream:
        stream.write(plain.read_bytes())
    return path


def write_gzip(path: Path, rows: Sequence[Row]) -> Path:
    path.write_bytes(gzip.compress(write_csv(path.with_suffix(""), rows).read_bytes()))
    return path


WRITERS: dict[str, Callable[[Path, Sequence[Row]], Path]] = {
    "rows.csv": write_csv,
    "more.csv.gz": write_gzip,
    "rows.jsonl": write_jsonl,
    "more.jsonl.zst": write_zst,
    "rows.parquet": write_parquet,
    "saved": write_arrow,
}


def by_name(spec: PrepareSpec, path: Path, **changes: Any) -> PrepareSpec:
    return replace(spec, files=(str(path),), input_schema=None, format=BY_NAME, **changes)


def columns_of(prepared: TokenisedSet) -> dict[str, list[Any]]:
    tables = [prepared.read_group(group) for group in range(len(prepared.group_rows))]
    return pa.concat_tables(tables).to_pydict()


@given(ROWS)
@example([("", "pos")])
@example([("a" * 200_000, "neg"), ('"', "pos")])
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
def test_the_same_rows_in_all_formats(spec: PrepareSpec, tmp_path: Path, rows: list[Row]) -> None:
    cache = str(tmp_path / "cache")
    found = {name: prepare(by_name(spec, write(tmp_path / name, rows)), cache) for name, write in WRITERS.items()}
    first, *others = (columns_of(prepared) for prepared in found.values())
    assert first["row"] == list(range(len(rows)))
    assert [("neg", "pos")[label] for label in first["label"]] == [label for _, label in rows]
    assert all(other == first for other in others)
    if not any(mark in text for text, _ in rows for mark in "\t\n\r\0"):
        (tmp_path / "rows.tsv").write_bytes("".join(f"{text}\t{label}\n" for text, label in rows).encode())
        if len(rows) > 1 and ("text", "label") not in rows:
            assert columns_of(prepare(spec, cache)) == first


@pytest.mark.parametrize("name", WRITERS)
def test_rows_are_the_same_however_a_file_is_cut(name: str, spec: PrepareSpec, tmp_path: Path) -> None:
    rows = [(f"good {'film ' * (number % 7)}", ("neg", "pos")[number % 2]) for number in range(200)]
    path = WRITERS[name](tmp_path / name, rows)
    file = path / "data-00000-of-00001.arrow" if path.is_dir() else path
    for chunk_bytes in (64, 1000, 1 << 20):
        chunks = scan([str(file)], False, files=BY_NAME, chunk_bytes=chunk_bytes)
        reader = reader_of(str(file), BY_NAME)
        found = [row for chunk in chunks for row in reader.read(chunk, ("text", "label"))]
        assert [row.row for row in found] == list(range(200))
        assert [
            tuple(reader.cells(row.data if not isinstance(row.data, bytes) else row.data.decode(), ("text", "label")))
            for row in found
        ] == rows
        if chunk_bytes == 64 and not name.endswith((".gz", ".zst")):
            assert len(chunks) > 10


@pytest.mark.parametrize("name", [name for name in WRITERS if "jsonl" not in name])
def test_renamed_columns_are_other_rows(name: str, spec: PrepareSpec, tmp_path: Path) -> None:
    """The names stand apart from the rows, whose bytes stay the same."""
    rows = [("good", "bad film"), ("bad", "film")]
    path, cache = WRITERS[name](tmp_path / name, rows), str(tmp_path / "cache")
    unlabelled = by_name(spec, path, label=None, codec=None)
    before = [len(ids) for ids in columns_of(prepare(unlabelled, cache))["input_ids"]]
    file = path / "data-00000-of-00001.arrow" if path.is_dir() else path
    content = file.read_bytes()
    if name.endswith(".csv"):
        file.write_bytes(content.replace(b"label,text", b"text,label"))
    elif name.endswith(".gz"):
        file.write_bytes(gzip.compress(gzip.decompress(content).replace(b"label,text", b"text,label")))
    else:
        table = table_of(rows).rename_columns(["label", "text"])
        if name.endswith(".parquet"):
            pq.write_table(table, file)
        else:
            with pa.ipc.new_stream(str(file), table.schema) as writer:
                writer.write_table(table, max_chunksize=3)
    after = [len(ids) for ids in columns_of(prepare(unlabelled, cache))["input_ids"]]
    assert (before, after) == ([3, 3], [4, 3])


def test_every_chunk_of_a_csv_has_the_header_in_its_digest(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    digests = []
    for header in ("text,label", "label,text", "text,label"):
        path.write_text(f"{header}\n" + "good,pos\n" * 100)
        digests.append([chunk.digest for chunk in scan([str(path)], False, files=BY_NAME, chunk_bytes=64)])
    assert len(digests[0]) > 10
    assert digests[0] == digests[2]
    assert all(one != other for one, other in zip(digests[0], digests[1], strict=True))


def test_a_quoted_csv_is_one_chunk_and_that_is_said_once(spec: PrepareSpec, tmp_path: Path, caplog: Any) -> None:
    path = write_csv(tmp_path / "quoted.csv", [(f'a "{number}"\nb', "pos") for number in range(100)])
    for _ in range(2):
        assert len(scan([str(path)], False, files=BY_NAME, chunk_bytes=64)) == 1
    assert [record.message for record in caplog.records if "one task reads it" in record.message] == [
        f"{path} has quotes, which may hold line breaks, so one task reads it; cut it into files for more"
    ]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", 'text,label\ngood,pos\n"x\ny",\n', r"a\.csv:3: label '' is not one of"),
        ("a.csv", 'text,label\n"a\nb",pos\na,b,neg\n', r"a\.csv:4: 3 cells where the header has 2"),
        ("a.csv", "text,label\n\na,pos\n", r"a\.csv:2: the line is blank"),
        ("a.csv", "text,label\n\n", r"a\.csv: no row is left \(0 rows read"),
        ("a.csv", "\ntext,label\n", r"a\.csv:1: the line is blank"),
        ("a.jsonl", '\n{"text": "a", "label": "pos"}\n', r"a\.jsonl:1: the line is blank"),
        ("a.csv", 'text,label\n"a"b,pos\n', r"a\.csv:2: malformed quotes"),
        ("a.csv", 'text,label\ngood,pos\n"a,neg\n', r"a\.csv:3: a quote that opens in this row is not closed"),
        ("a.csv", "text,label\ra,pos\r", "carriage return"),
        ("a.csv", "txt,label\na,pos\n", r"a\.csv: there is no column 'text', but txt, label; did you mean txt\?"),
        ("a.csv", "text,text,label\na,b,pos\n", r"a\.csv has 2 columns named 'text'"),
        ("a.csv", "text,label\ncaf\udce9,pos\n", "column 'text' is not Unicode text"),
        ("a.csv", "", "there is no column 'text', nor any other"),
        ("a.jsonl", '{"text": "a", "label": "pos"}\n{"text": "b", \n', r"a\.jsonl:2: not a JSON object"),
        ("a.jsonl", '{"txt": "a", "label": "pos"}\n', r"a\.jsonl:1: there is no column 'text'.* did you mean txt\?"),
        ("a.jsonl", '{"text": "a", "text": "b", "label": "pos"}\n', r"a\.jsonl:1: key 'text' stands twice"),
        ("a.jsonl", "[1]\n", r"a\.jsonl:1: a JSON list"),
        ("a.jsonl", '{"text": 5, "label": "pos"}\n', r"a\.jsonl:1: column 'text' is a whole number, not text"),
        ("a.jsonl", '{"text": null, "label": "pos"}\n', r"a\.jsonl:1: column 'text' is missing \(null\)"),
        ("a.jsonl", '{"text": "\\ud800", "label": "pos"}\n', "half of a surrogate pair"),
        ("a.jsonl", '{"text": "a", "label": {"x": 1}}\n', r"a\.jsonl:1: column 'label' is an object, not a label"),
        ("a.jsonl", '{"text": "a", "label": 0.5}\n', r"a\.jsonl:1: label '0\.5' is not one of"),
        ("a.parquet", "text", r"a\.parquet is not a whole Parquet file"),
        ("a.arrow", "text", r"a\.arrow is not a whole Arrow file"),
        ("a.jsonl.zst", "text", r"a\.jsonl\.zst is not a whole zstd file"),
        ("a.txt", "good\tpos\n", r"a\.txt does not name its columns: give data\.input_schema"),
    ],
)
def test_bad_files_are_named_in_one_sentence(name: str, content: str, message: str, spec: PrepareSpec, tmp_path: Path) -> None:
    path = tmp_path / name
    path.write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises((DataError, ConfigError), match=message) as caught:
        prepare(by_name(spec, path), str(tmp_path / "cache"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", ["\n", "\n\n\r\n", "\r\n"])
def test_blank_lines_at_the_end_of_a_file_are_no_rows(end: str, spec: PrepareSpec, tmp_path: Path) -> None:
    contents = {
        "a.csv": "text,label\ngood,pos\nbad,neg\n",
        "b.csv": 'text,label\n"good",pos\nbad,neg\n',
        "a.jsonl": '{"text": "good", "label": "pos"}\n{"text": "bad", "label": "neg"}\n',
        "a.tsv": "good\tpos\nbad\tneg\n",
    }
    cache = str(tmp_path / "cache")
    for name, content in contents.items():
        (tmp_path / name).write_bytes((content + end).encode())
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress((content + end).encode()))
        for path in (tmp_path / name, tmp_path / f"{name}.gz"):
            given = replace(spec, files=(str(path),)) if "tsv" in name else by_name(spec, path)
            found = prepare(given, cache)
            assert (found.num_rows, found.read, found.rejected) == (2, 2, 0), path
            assert [source.rows for source in found.sources] == [2], path


def test_blank_lines_at_the_end_of_a_chunk_are_rejected_where_rows_follow(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,pos\n" + "\n" * 10 + "b,pos\n" + "\n" * 20)
    chunks = scan([str(tmp_path / "a.csv")], False, files=BY_NAME, chunk_bytes=4)
    assert len(chunks) > 2
    assert sum(chunk.rows for chunk in chunks) == 12
    reader = reader_of(str(tmp_path / "a.csv"), BY_NAME)
    found = [row.data for chunk in chunks for row in reader.read(chunk, ["text"])]
    assert found == [["a"], *[[]] * 10, ["b"]]


def test_a_parquet_row_is_named_by_row_group_and_row(spec: PrepareSpec, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [("good", "pos")] * 7 + [("bad", "other")])
    with pytest.raises(DataError, match=r"a\.parquet, row group 2, row 1 \(both from 0\): label 'other' is not one of"):
        prepare(by_name(spec, path), str(tmp_path / "cache"))
    kept = prepare(by_name(spec, path, max_rejected_rows=1), str(tmp_path / "cache"))
    assert (kept.num_rows, kept.rejected) == (7, 1)


def test_a_parquet_file_cut_short_is_refused_before_rows_are_read(spec: PrepareSpec, tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", [("good", "pos")] * 9)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"a\.parquet is not a whole Parquet file .*; write or copy it again"):
        check_sources(by_name(spec, path))


def test_a_header_is_not_skipped_where_there_is_none(spec: PrepareSpec, tmp_path: Path) -> None:
    """The setting is refused where no file of a job can have a header, and means the others where some can."""
    path = write_jsonl(tmp_path / "a.jsonl", [("good", "pos")])
    with pytest.raises(ConfigError, match=r"data\.skip_header = true, but files such as .*a\.jsonl have no header"):
        check_skip_header([str(path)], BY_NAME, skip_header=True)
    check_sources(by_name(spec, path, skip_header=True))
    assert prepare(by_name(spec, path, skip_header=True), str(tmp_path / "cache")).num_rows == 1


def test_numbers_are_labels_in_one_spelling(spec: PrepareSpec, tmp_path: Path) -> None:
    """Integers of a column with gaps are floats in pandas: 1.0 equals 1."""
    (tmp_path / "a.csv").write_text("text,label\ngood,1.0\nbad,0\n")
    (tmp_path / "a.jsonl").write_text('{"text": "good", "label": 1.0}\n{"text": "bad", "label": "0"}\n')
    pq.write_table(pa.table({"text": ["good", "bad"], "label": [1.0, 0.0]}), tmp_path / "a.parquet")
    pq.write_table(pa.table({"text": ["good", "bad"], "label": [True, False]}), tmp_path / "b.parquet")
    codec = SINGLE_LABEL.label_codec(("0", "1"))
    for name in ("a.csv", "a.jsonl", "a.parquet"):
        assert columns_of(prepare(by_name(spec, tmp_path / name, codec=codec), str(tmp_path / "cache")))["label"] == [1, 0]
    booleans = by_name(spec, tmp_path / "b.parquet", codec=SINGLE_LABEL.label_codec(("false", "true")))
    assert columns_of(prepare(booleans, str(tmp_path / "cache")))["label"] == [1, 0]


def test_nested_columns_are_named_by_a_path(spec: PrepareSpec, tmp_path: Path) -> None:
    rows = [{"doc": {"body": {"text": "good film"}}, "label": "pos"}, {"doc": {"body": {"text": "bad"}}, "label": "neg"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = pa.Table.from_pylist(rows)
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(str(tmp_path / "a.arrow"), table.schema) as writer:
        writer.write_table(table)
    for name in ("a.jsonl", "a.parquet", "a.arrow"):
        found = prepare(by_name(spec, tmp_path / name, first_sequence="doc.body.text"), str(tmp_path / "cache"))
        assert [len(ids) for ids in columns_of(found)["input_ids"]] == [4, 3]
    for name in ("a.parquet", "a.arrow"):
        with pytest.raises(DataError, match=r"no column 'doc\.bdy\.text', but doc\.body; did you mean doc\.body"):
            check_sources(by_name(spec, tmp_path / name, first_sequence="doc.bdy.text"))


def test_lists_are_the_labels_of_a_row(spec: PrepareSpec, tmp_path: Path) -> None:
    codec = task_kind("multi_label").label_codec(("a", "b"))
    (tmp_path / "a.jsonl").write_text('{"text": "good", "label": ["b", "a"]}\n{"text": "bad", "label": []}\n')
    pq.write_table(pa.table({"text": ["good", "bad"], "label": [["b", "a"], []]}), tmp_path / "a.parquet")
    for name in ("a.jsonl", "a.parquet"):
        found = prepare(by_name(spec, tmp_path / name, codec=codec), str(tmp_path / "cache"))
        assert columns_of(found)["label"] == [[1, 1], [0, 0]]


def test_a_csv_without_header_has_an_input_schema(spec: PrepareSpec, tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text('"good, film";pos\nbad;neg\n')
    given = replace(spec, files=(str(path),), format=FileFormat(None, delimiter=";"))
    assert columns_of(prepare(given, str(tmp_path / "cache")))["label"] == [1, 0]
    path.write_text("good;pos;more\n")
    with pytest.raises(
        DataError, match=r"a\.csv:1: 3 columns where input_schema has 2 .*; put quotes around a text that holds ';'"
    ):
        prepare(given, str(tmp_path / "cache"))


def test_folders_of_several_splits_and_other_folders_are_refused(spec: PrepareSpec, tmp_path: Path) -> None:
    write_arrow(tmp_path / "train", [("good", "pos")])
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train", "test"]}')
    with pytest.raises(DataError, match=r"holds several splits; name one of .*/train, .*/test"):
        check_sources(by_name(spec, tmp_path))
    (tmp_path / "dataset_dict.json").unlink()
    with pytest.raises(DataError, match="is a folder; name its files"):
        check_sources(by_name(spec, tmp_path))


@pytest.mark.parametrize("new", [pa.ipc.new_stream, pa.ipc.new_file])
def test_an_arrow_file_cut_between_two_batches_is_refused(new: Any, spec: PrepareSpec, tmp_path: Path) -> None:
    path, table = tmp_path / "a.arrow", table_of([("good", "pos"), ("bad", "neg"), ("film", "pos")])
    with new(str(path), table.schema) as writer:
        writer.write_table(table, max_chunksize=1)
    whole = replace(spec, files=(str(path),), format=BY_NAME)
    chunks = scan([str(path)], skip_header=False, files=BY_NAME, chunk_bytes=8)
    assert [chunk.rows for chunk in chunks] == [1, 1, 1]
    assert prepare(whole, str(tmp_path / "cache")).num_rows == 3
    path.write_bytes(path.read_bytes()[: chunks[1].stop])
    with pytest.raises(
        DataError, match=r"a\.arrow is not a whole Arrow file \(it ends without Arrow's end mark\); write or copy"
    ):
        prepare(whole, str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("state.json", "{}", r"state\.json does not list files as datasets\.save_to_disk writes them"),
        ("state.json", "[1]", r"state\.json does not list files"),
        ("state.json", '{"_data_files": []}', r"state\.json does not list files"),
        ("state.json", '{"_data_files": [{"filename": 1}]}', r"state\.json does not list files"),
        ("state.json", '{"_data_files": [{"filename": "part.arrow"}]}', r"part\.arrow does not exist"),
        ("state.json", "{", r"state\.json is not JSON"),
        ("dataset_dict.json", "[]", r"dataset_dict\.json does not list files"),
    ],
)
def test_a_damaged_folder_of_datasets_is_named(
    name: str, content: str, message: str, spec: PrepareSpec, tmp_path: Path
) -> None:
    (tmp_path / "saved").mkdir()
    (tmp_path / "saved" / name).write_text(content)
    with pytest.raises(DataError, match=message):
        check_sources(replace(spec, files=(str(tmp_path / "saved"),), format=BY_NAME, input_schema=None))
