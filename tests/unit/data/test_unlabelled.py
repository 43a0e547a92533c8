"""Files of unlabelled rows: with the columns of the training files or of their texts alone."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from raykd.data.headers import check_skip_header
from raykd.data.prepare import check_sources, prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.readers import FileFormat
from raykd.data.tokenised_set import TokenisedSet
from raykd.data.unlabelled import unlabelled_spec
from raykd.errors import DataError

PAIR = "id:str:1,second:str:1,label:str:1,first:str:1"


@pytest.mark.parametrize(
    ("schema", "pair", "line"),
    [
        ("text:str:1,label:str:1", None, "good film\n"),
        ("text:str:1,label:str:1", None, "good film\tno label\n"),
        ("text:str:1, label:str:1", None, "good film\n"),
        ("label:str:1, text:str:1", None, "good film\n"),
        (PAIR, ("first", "second"), "book\tgood film\n"),
        (PAIR, ("first", "second"), "17\tbook\t\tgood film\n"),
    ],
)
def test_both_forms_give_the_same_texts(
    schema: str, pair: tuple[str, str] | None, line: str, spec: PrepareSpec, tmp_path: Path
) -> None:
    first, second = pair or ("text", None)
    (tmp_path / "more.tsv").write_text(line)
    labelled = replace(spec, input_schema=schema, first_sequence=first, second_sequence=second)
    more = prepare(unlabelled_spec(labelled, [str(tmp_path / "more.tsv")]), str(tmp_path / "cache"))
    assert more.labels is None
    # [CLS] good film [SEP] (book [SEP])
    assert more.read_group(0)["input_ids"].to_pylist() == [[2, 4, 6, 3, *([7, 3] if pair else [])]]


def test_texts_of_other_splits_are_left_out_and_counted(
    prepare_rows: Callable[..., TokenisedSet], spec: PrepareSpec, tmp_path: Path
) -> None:
    test = prepare_rows("good film\tpos\nbad book\tneg\n")
    (tmp_path / "more.tsv").write_text("Good  FILM\nbook\nbad book\n")
    given = replace(unlabelled_spec(spec, [str(tmp_path / "more.tsv")]), exclude=(test.path,))
    more = prepare(given, str(tmp_path / "cache"))
    assert (more.num_rows, more.excluded, more.filtered, more.read) == (1, 2, 2, 3)


def test_compressed_files_and_headers(spec: PrepareSpec, tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("text\tlabel\ngood\tpos\n")
    (tmp_path / "more.tsv.gz").write_bytes(gzip.compress(b"text\ngood film\n"))
    given = unlabelled_spec(replace(spec, skip_header=True), [str(tmp_path / "*.gz")])
    assert prepare(given, str(tmp_path / "cache")).num_rows == 1


@pytest.mark.parametrize(
    ("suffix", "lines"), [("csv", "text\ngood film\n"), ("tsv", "text\ngood film\n"), ("csv", "text,label\ngood film,\n")]
)
def test_a_header_of_texts_is_no_row(
    suffix: str, lines: str, spec: PrepareSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The training files have none, which ``data.skip_header`` says of all files."""
    for name in "ab":
        (tmp_path / f"{name}.{suffix}").write_text(lines)
    spec = replace(spec, format=FileFormat(None))
    given = unlabelled_spec(spec, [str(tmp_path / f"*.{suffix}")])
    more = prepare(given, str(tmp_path / "cache"))
    assert [more.read_group(group)["input_ids"].to_pylist() for group in range(2)] == [[[2, 4, 6, 3]]] * 2
    assert more.read == 2
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.startswith("data.unlabelled: the first line of each file is left out as a header, as in ")
    assert said.endswith("text" if lines.startswith("text\n") else "text, label")
    unlabelled_spec(spec, [str(tmp_path / f"*.{suffix}")])
    assert len(caplog.records) == 1, "said once"


@pytest.mark.parametrize("first", ["Text", "text of a film", "TEXT", "label"])
def test_a_first_text_that_is_no_name_is_a_row(first: str, spec: PrepareSpec, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text(f"{first}\ngood film\n")
    assert prepare(unlabelled_spec(spec, [str(tmp_path / "more.csv")]), str(tmp_path / "cache")).num_rows == 2


@pytest.mark.parametrize("suffix", ["tsv", "csv"])
@pytest.mark.parametrize("schema", ["text:str:1,label:str:1", "text:str:1, label:str:1"])
def test_a_first_line_is_a_row_where_the_training_files_alone_have_a_header(
    suffix: str, schema: str, spec: PrepareSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "rows.tsv").write_text("text\tlabel\ngood\tpos\n")
    (tmp_path / f"more.{suffix}").write_text("good film\nbad\n")
    labelled = replace(spec, skip_header=True, format=FileFormat(None), input_schema=schema)
    for _ in range(2):
        given = unlabelled_spec(labelled, [str(tmp_path / f"more.{suffix}")])
        check_sources(given)
    assert prepare(given, str(tmp_path / "cache")).read_group(0)["input_ids"].to_pylist() == [[2, 4, 6, 3], [2, 5, 3]]
    (said,) = [record.getMessage() for record in caplog.records]
    assert said.endswith(f"is a row, as in {tmp_path}/more.{suffix}: it does not hold the names of the columns (text)")


@pytest.mark.parametrize("lines", ["sentence\ngood film\n", "sentence\tclass\ngood film\tunknown\n"])
def test_a_header_as_in_the_training_files_may_have_other_names(
    lines: str, spec: PrepareSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "rows.tsv").write_text("sentence\tclass\ngood\tpos\n")
    (tmp_path / "more.tsv").write_text(lines)
    given = unlabelled_spec(replace(spec, skip_header=True), [str(tmp_path / "more.tsv")])
    assert prepare(given, str(tmp_path / "cache")).num_rows == 1
    assert not caplog.records


def test_formats_without_header_lines_ignore_that_the_training_files_have_them(spec: PrepareSpec, tmp_path: Path) -> None:
    (tmp_path / "rows.tsv").write_text("text\tlabel\ngood\tpos\n")
    (tmp_path / "more.jsonl").write_text('{"text": "good film"}\n')
    (tmp_path / "more.tsv").write_text("text\nbad\n")
    labelled = replace(spec, skip_header=True, format=FileFormat(None))
    for pattern, rows in (("more.jsonl", 1), ("more.*", 2)):
        given = unlabelled_spec(labelled, [str(tmp_path / pattern)])
        check_sources(given)
        assert prepare(given, str(tmp_path / "cache")).num_rows == rows
    check_skip_header([str(tmp_path / "rows.tsv"), str(tmp_path / "more.jsonl")], FileFormat(None), skip_header=True)


def test_the_separator_of_the_format_is_named(spec: PrepareSpec, tmp_path: Path) -> None:
    (tmp_path / "more.csv").write_text("a;b;c\n")
    with pytest.raises(DataError, match=r"more\.csv:1: 3 columns, but data\.unlabelled needs .*; split at ';'"):
        unlabelled_spec(replace(spec, format=FileFormat(None, ";")), [str(tmp_path / "more.csv")])


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (["text\n", "good film\n"], r"a.tsv:1: the line holds the names of the columns, but .*b.tsv begins with a row"),
        (["a\tb\tc\n"], "a.tsv:1: 3 columns, but data.unlabelled needs 1 .text. or those of the training files .text, label."),
        (["a\n", "a\tb\n"], "a.tsv and .*b.tsv have different columns"),
        (["\n"], "a.tsv:1: the line is blank"),
    ],
)
def test_other_columns_are_refused(contents: list[str], message: str, spec: PrepareSpec, tmp_path: Path) -> None:
    for name, content in zip("ab", contents, strict=False):
        (tmp_path / f"{name}.tsv").write_text(content)
    with pytest.raises(DataError, match=message):
        unlabelled_spec(spec, [str(tmp_path / "*.tsv")])
