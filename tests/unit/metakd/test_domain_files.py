"""Rows of every file format, split by domain: the same texts, labels and domains in the same order."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.data.readers import FileFormat, read_chunk, reader_of, scan
from raykd.errors import ConfigError, DataError
from raykd.metakd.domain_files import DomainColumns, check_classes, split_by_domain
from raykd.metakd.prototypes import domain_ids
from tests.unit.metakd.worlds import DOMAINS, LABELS

Row = tuple[str, str, str]
NAMES = ("review", "kind", "sentiment")
COLUMNS = DomainColumns(None, "review", None, "sentiment", "kind")
ANY_TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=60)
ROWS = st.lists(st.tuples(ANY_TEXT, st.sampled_from(DOMAINS), st.sampled_from(LABELS)), max_size=12)
ONE_OF_EACH = [("a text", domain, label) for domain in DOMAINS for label in LABELS]


def write_csv(path: Path, rows: list[Row]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file, quoting=csv.QUOTE_ALL).writerows([NAMES, *rows])


def write_jsonl(path: Path, rows: list[Row]) -> None:
    path.write_text("".join(json.dumps(dict(zip(NAMES, row, strict=True))) + "\n" for row in rows))


def write_parquet(path: Path, rows: list[Row]) -> None:
    pq.write_table(pa.table({name: [row[index] for row in rows] for index, name in enumerate(NAMES)}), path)


WRITERS: dict[str, Callable[[Path, list[Row]], None]] = {"csv": write_csv, "jsonl": write_jsonl, "parquet": write_parquet}


def split(path: Path, columns: DomainColumns = COLUMNS, domains: tuple[str, ...] = DOMAINS) -> dict[str, list[Row]]:
    """The rows of each domain's file."""
    files = FileFormat(None, named=columns.input_schema is None)
    written = columns.of_domain_files([str(path)], files)
    paths = {name: str(path.parent / f"{path.name}-split" / f"{name}{written.suffix}") for name in domains}
    counts = split_by_domain([str(path)], columns, paths, written=written, files=files, labels=LABELS)
    found = {name: rows_of(paths[name], written) for name in domains}
    assert counts == {name: len(rows) for name, rows in found.items()}
    return found


def rows_of(path: str, columns: DomainColumns) -> list[Row]:
    parser, rows = columns.parser(LABELS), []
    for chunk in scan([path], False, files=columns.file_format):
        for row in read_chunk(chunk, parser.names, files=columns.file_format):
            example = parser.parse(row.data, reader_of(path, columns.file_format))
            assert isinstance(example.text, str)
            rows.append((example.text, str(example.extras[0]), LABELS[example.label]))
    return rows


@settings(max_examples=20)
@given(rows=ROWS)
def test_rows_are_the_same_from_every_format(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> None:
    rows = [*rows, *ONE_OF_EACH]
    folder = tmp_path_factory.mktemp("formats")
    for name, write in WRITERS.items():
        write(path := folder / f"rows.{name}", rows)
        for domain, found in split(path).items():
            assert found == [row for row in rows if row[1] == domain], name


def test_pairs_and_nested_keys_keep_both_texts(tmp_path: Path) -> None:
    path = tmp_path / "pairs.jsonl"
    rows = [{"text": {"a": f"one\n{n}", "b": "two\t"}, "of": DOMAINS[n % 3], "y": LABELS[n % 2]} for n in range(6)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = DomainColumns(None, "text.a", "text.b", "y", "of")
    written = columns.of_domain_files([str(path)], files := FileFormat(None, named=True))
    paths = {name: str(tmp_path / f"{name}.jsonl") for name in DOMAINS}
    split_by_domain([str(path)], columns, paths, written=written, files=files, labels=LABELS)
    first = json.loads(Path(paths["books"]).read_text().splitlines()[0])
    assert first == {"text": "one\n0", "second_text": "two\t", "label": "negative", "domain": "books"}


def test_tsv_rows_keep_their_bytes_and_mix_with_others(tmp_path: Path) -> None:
    schema = DomainColumns("review:str:1,kind:str:1,sentiment:str:1", "review", None, "sentiment", "kind")
    (tmp_path / "rows.tsv").write_text("".join("\t".join(row) + "\n" for row in ONE_OF_EACH))
    split(tmp_path / "rows.tsv", schema)
    assert (tmp_path / "rows.tsv-split" / "dvd.tsv").read_text() == "a text\tdvd\tnegative\na text\tdvd\tpositive\n"
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows(ONE_OF_EACH)
    mixed = [str(tmp_path / "rows.tsv"), str(tmp_path / "rows.csv")]
    written = schema.of_domain_files(mixed, FileFormat(None))
    paths = {name: str(tmp_path / f"{name}.jsonl") for name in DOMAINS}
    split_by_domain(mixed, schema, paths, written=written, files=FileFormat(None), labels=LABELS)
    assert rows_of(paths["dvd"], written) == 2 * [row for row in ONE_OF_EACH if row[1] == "dvd"]


def test_labels_of_a_typed_column_are_integers_without_a_fraction(tmp_path: Path) -> None:
    table = pa.table({"review": ["x"] * 6, "kind": [*DOMAINS] * 2, "sentiment": [0.0, 1.0] * 3})
    pq.write_table(table, tmp_path / "rows.parquet")
    written = COLUMNS.of_domain_files([path := str(tmp_path / "rows.parquet")], files := FileFormat(None, named=True))
    paths = {name: str(tmp_path / f"{name}.jsonl") for name in DOMAINS}
    split_by_domain([path], COLUMNS, paths, written=written, files=files, labels=("0", "1"))
    assert [json.loads(line)["label"] for line in Path(paths["books"]).read_text().splitlines()] == ["0", "1"]


def test_domains_of_floats_are_integers_in_every_format(tmp_path: Path) -> None:
    """Integers of a column with gaps are floats in pandas: 1.0 equals 1."""
    (tmp_path / "rows.csv").write_text("review,kind,sentiment\nx,1.0,positive\ny,2,negative\n")
    (tmp_path / "rows.jsonl").write_text(
        '{"review": "x", "kind": 1.0, "sentiment": "positive"}\n{"review": "y", "kind": "2", "sentiment": "negative"}\n'
    )
    (tmp_path / "rows.tsv").write_text("x\t1.0\tpositive\ny\t2\tnegative\n")
    expected = {"1": [("x", "1", "positive")], "2": [("y", "2", "negative")]}
    for name in ("rows.csv", "rows.jsonl"):
        assert split(tmp_path / name, domains=("1", "2")) == expected, name
    schema = DomainColumns("review:str:1,kind:str:1,sentiment:str:1", "review", None, "sentiment", "kind")
    copied = split(tmp_path / "rows.tsv", schema, domains=("1", "2"))
    assert copied == expected | {"1": [("x", "1.0", "positive")]}, "rows keep their bytes"
    assert domain_ids(pa.chunked_array([["1.0", "2", "1"]]), ("1", "2")).tolist() == [0, 1, 0]
    assert domain_ids(pa.chunked_array([[1.0, 2.0]]), ("1", "2")).tolist() == [0, 1], "a column of the type float"
    assert split(tmp_path / "rows.tsv", schema, domains=("1.0", "2"))["1.0"] == copied["1"], "a name as it is comes first"


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("x", "toys", "positive")], r"rows\.jsonl:7: domain 'toys' is not one of books, dvd, kitchen"),
        ([("x", "dvd", "fine")], r"rows\.jsonl:7: label 'fine' is not one of"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path: Path, rows: list[Row], message: str) -> None:
    write_jsonl(path := tmp_path / "rows.jsonl", [*ONE_OF_EACH, *rows])
    with pytest.raises(DataError, match=message):
        split(path)


def test_files_without_columns_and_columns_that_are_not_there_are_refused(tmp_path: Path) -> None:
    write_parquet(path := tmp_path / "rows.parquet", ONE_OF_EACH)
    with pytest.raises(DataError, match=r"there is no column 'kinds', but review, kind, sentiment; did you mean kind\?"):
        split(path, DomainColumns(None, "review", None, "sentiment", "kinds"))
    (tmp_path / "rows.tsv").write_text("a\tb\tc\n")
    with pytest.raises(ConfigError, match=r"rows\.tsv does not name its columns: give data\.input_schema"):
        split(tmp_path / "rows.tsv")


@pytest.mark.parametrize("place", [1, 3])
def test_blank_lines_are_passed_over_in_every_text_format(tmp_path: Path, place: int) -> None:
    rows = ONE_OF_EACH[:2] + ONE_OF_EACH[4:]
    write_csv(tmp_path / "rows.csv", rows)
    write_jsonl(tmp_path / "rows.jsonl", rows)
    for name in ("rows.csv", "rows.jsonl"):
        lines = (tmp_path / name).read_bytes().splitlines(keepends=True)
        (tmp_path / name).write_bytes(b"".join([*lines[:place], b"\r\n", *lines[place:], b"\n\n"]))
        assert split(tmp_path / name, domains=("books", "kitchen")) == {"books": rows[:2], "kitchen": rows[2:]}


def test_a_class_without_rows_is_found_in_every_format(tmp_path: Path) -> None:
    rows = [row for row in ONE_OF_EACH if row[1:] != ("dvd", "negative")]
    write_csv(path := tmp_path / "rows.csv", rows)
    split(path)
    written = COLUMNS.of_domain_files([str(path)], FileFormat(None, named=True))
    folder = tmp_path / "rows.csv-split"
    check_classes(str(folder / "books.jsonl"), written, labels=LABELS, domain="books")
    with pytest.raises(DataError, match=r"domain 'dvd' lacks a class: its training rows are \{'negative': 0, 'positive': 1\}"):
        check_classes(str(folder / "dvd.jsonl"), written, labels=LABELS, domain="dvd")
