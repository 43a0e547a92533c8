"""Rows of CSV files: quotes hold line breaks, and a malformed row costs its first line alone."""

import csv
import gzip
import re
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from raykd.config import DataConfig
from raykd.data.found_labels import find_labels
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.readers import CHUNK_BYTES, Chunk, FileFormat, RawRow, reader_of, scan
from raykd.data.readers import csv as csv_reader
from raykd.errors import DataError

BY_NAME = FileFormat(None, named=True)
BY_POSITION = FileFormat(None)
NOT_CLOSED = "a quote that opens in this row is not closed; close it, and double the quotes inside a text"

CARRIAGE_RETURN = "a carriage return outside quotes; end lines with line feeds, and quote texts that hold line breaks"


def read(path: Path, files: FileFormat = BY_POSITION, *, chunk_bytes: int = CHUNK_BYTES) -> tuple[list[Chunk], list[RawRow]]:
    chunks = scan([str(path)], False, files=files, chunk_bytes=chunk_bytes)
    reader = reader_of(str(path), files)
    return chunks, [row for chunk in chunks for row in reader.read(chunk, ("text", "label"))]


def expected_rows(content: str) -> list[tuple[int, list[str] | None]]:
    """The rule, on a whole file in memory: line and cells of each row, None for a malformed one."""
    lines = re.findall(r"[^\n]*\n|[^\n]+", content)
    rows: list[tuple[int, list[str] | None]] = []
    at = 0
    while at < len(lines):
        reader = csv.reader(lines[at:], strict=True)
        try:
            rows.append((at + 1, next(reader)))
            at += reader.line_num
        except csv.Error:
            rows.append((at + 1, None))
            at += 1
    while rows and rows[-1][1] == []:
        rows.pop()
    return rows


PIECES = st.sampled_from(['"', '""', ",", "\n", "a", 'a",b,"c\n', '"a,b\n', ',"', '",', '"\n', "\r\n", "\r", "a,b\n", "é"])


@given(st.lists(PIECES, max_size=40).map("".join), st.booleans(), st.sampled_from([4, 16, CHUNK_BYTES]))
@example('a",b,"c\n' * 30, False, CHUNK_BYTES)
@example('a,b\n"a,b\n' + "a,b\n" * 20 + '"a",b\n' + "\n" * 9, True, CHUNK_BYTES)
@example("a,b\n" * 5 + "\r\n" * 20 + "\r", False, 4)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_a_malformed_row_is_its_first_line(tmp_path: Path, content: str, packed: bool, chunk_bytes: int) -> None:
    path = tmp_path / ("rows.csv.gz" if packed else "rows.csv")
    path.write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    chunks, rows = read(path, chunk_bytes=chunk_bytes)
    assert [(row.line, None if isinstance(row.data, DataError) else row.data) for row in rows] == expected_rows(content)
    assert [row.row for row in rows] == list(range(len(rows)))
    assert sum(chunk.rows for chunk in chunks) == len(rows)


def test_a_stray_quote_costs_one_row(spec: PrepareSpec, tmp_path: Path) -> None:
    lines = [f"good film {number},{('neg', 'pos')[number % 2]}\n" for number in range(1000)]
    lines[10] = '"Great film 10,pos\n'
    lines[500] = '"film\nof two ""lines""",late\n'
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(lines))
    found = find_labels(DataConfig(first_sequence="text", label="label", train=(str(tmp_path / "a.csv"),)), str(tmp_path))
    assert found == {"late": 1, "neg": 498, "pos": 500}
    lines[500] = lines[500].replace("late", "pos")
    (tmp_path / "a.csv").write_text("text,label\n" + "".join(lines))
    given = replace(spec, files=(str(tmp_path / "a.csv"),), input_schema=None, format=BY_NAME)
    with pytest.raises(DataError, match=rf"a\.csv:12: {NOT_CLOSED}; correct"):
        prepare(given, str(tmp_path / "cache"))
    kept = prepare(replace(given, max_rejected_rows=1), str(tmp_path / "cache"))
    assert (kept.read, kept.num_rows, kept.rejected) == (1000, 999, 1)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ('"a,1\nb,2\nc,3\n', [(1, NOT_CLOSED), (2, ["b", "2"]), (3, ["c", "3"])]),
        ('"a,1\nb,2\nc,3\n"d",4\ne,5\n', [(1, NOT_CLOSED), (2, ["b", "2"]), (3, ["c", "3"]), (4, ["d", "4"]), (5, ["e", "5"])]),
        ('"a,1\n"b,2\n"c",3', [(1, NOT_CLOSED), (2, NOT_CLOSED), (3, ["c", "3"])]),
        ('"a\n\n""b""\n",1\nc,2\n', [(1, ['a\n\n"b"\n', "1"]), (5, ["c", "2"])]),
        ('"a\nb"\rc\n', [(1, NOT_CLOSED), (2, CARRIAGE_RETURN)]),
        ('a",b,"c\n\nd,e\n', [(1, NOT_CLOSED), (2, []), (3, ["d", "e"])]),
    ],
)
def test_the_next_line_begins_another_row(content: str, expected: list[tuple[int, list[str] | str]], tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(content.encode())
    rows = read(tmp_path / "a.csv")[1]
    assert [(row.line, str(row.data) if isinstance(row.data, DataError) else row.data) for row in rows] == expected


def test_a_quote_is_not_looked_for_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in one cell nor in many; the lines of a row are bounded, not those of a file."""
    monkeypatch.setattr(csv_reader, "_LONGEST_CELL", 1000)
    for stray in ('"a,b\n', 'a",b,"c\n'):
        (tmp_path / "a.csv").write_text(stray + "good,pos\n" * 500 + '"x\ny",neg\n' + (stray + "bad,neg\n") * 500)
        chunks, rows = read(tmp_path / "a.csv")
        assert [chunk.rows for chunk in chunks] == [len(rows)]
        assert rows[0].data.args[0] == NOT_CLOSED
        assert [row.data for row in rows[1:502]] == [["good", "pos"]] * 500 + [["x\ny", "neg"]]
        assert sum(row.data == ["bad", "neg"] for row in rows) == 500


def test_each_line_is_parsed_a_few_times_at_most(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line here opens a quote that only the end of the file ends."""
    parsed, make_reader = 0, csv.reader

    def counting(lines, **options):  # type: ignore[no-untyped-def]  # any lines
        def counted():  # type: ignore[no-untyped-def]  # those lines
            nonlocal parsed
            for line in lines:
                parsed += 1
                yield line

        return make_reader(counted(), **options)

    (tmp_path / "a.csv").write_text('a",b,"c\n' * 2000)
    monkeypatch.setattr(csv_reader.csv, "reader", counting)
    reader = reader_of(str(tmp_path / "a.csv"), BY_POSITION)
    (part,) = reader.ranges(str(tmp_path / "a.csv"), skip_header=False, chunk_bytes=CHUNK_BYTES)
    piece = reader.count(part)
    assert piece is not None
    assert piece.rows == 2000
    assert parsed <= 3 * 2000


def test_rows_that_follow_from_other_rules_have_another_digest(tmp_path: Path) -> None:
    """A cache of an earlier release may hold the same number of rows, of other lines."""
    content = '"a,1\nb,2\n"c",3\n'
    (tmp_path / "a.csv").write_text(content)
    (tmp_path / "a.tsv").write_text(content)
    assert read(tmp_path / "a.csv")[0][0].digest != scan([str(tmp_path / "a.tsv")], False)[0].digest
    (tmp_path / "a.csv").write_text(content := 'a,1\n"b\n",2\n5"x,3\n')
    (tmp_path / "a.tsv").write_text(content)
    assert read(tmp_path / "a.csv")[0][0].digest == scan([str(tmp_path / "a.tsv")], False)[0].digest


def test_a_header_with_an_open_quote_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('"text,label\ngood,pos\nbad,neg\n')
    for files in (BY_NAME, BY_POSITION):
        with pytest.raises(DataError, match=rf"a\.csv:1: {NOT_CLOSED}"):
            scan([str(tmp_path / "a.csv")], True, files=files)
