"""The lookup of file formats: a new one is a reader and a line of the lookup."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from raykd.data import readers
from raykd.data.prepare import PrepareSpec, prepare
from raykd.data.readers import reader_of, scan
from raykd.data.readers.tsv import TsvReader
from raykd.errors import DataError


class JsonLines(TsvReader):
    """One JSON object a line."""

    def cells(self, line: str, names: Sequence[str]) -> list[str]:
        try:
            row = json.loads(line)
            return [str(row[name]) for name in names]
        except (ValueError, KeyError) as error:
            raise DataError(f"not an object with {', '.join(names)} ({error!r})") from None


class Semicolons(TsvReader):
    """Cells separated by semicolons."""

    def cells(self, line: str, names: Sequence[str]) -> list[str]:
        return super().cells(line.replace(";", "\t"), names)


@pytest.fixture
def with_json_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(readers.READERS, ".jsonl", JsonLines())  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz", "a.txt", "a.gz", "a", "s3://bucket/a.tsv"])
def test_files_are_tsv_unless_their_name_says_otherwise(name: str) -> None:
    assert isinstance(reader_of(name), TsvReader)


@pytest.mark.usefixtures("with_json_lines")
def test_a_new_format_needs_a_reader_and_its_entry_only(spec: PrepareSpec, tmp_path: Path) -> None:
    rows = [("good\tfilm", "pos"), ("bad", "neg"), ("", "neg")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"label": label, "more": 1, "text": text}) + "\n" for text, label in rows))
    prepared = prepare(replace(spec, files=(str(path),)), str(tmp_path / "cache"))
    table = prepared.read_group(0).to_pydict()
    assert table["label"] == [1, 0, 0]
    assert [len(ids) for ids in table["input_ids"]] == [4, 3, 2]
    assert [chunk.rows for chunk in scan([str(path)], skip_header=False)] == [3]

    path.write_text('{"text": "good", "label": "pos"}\nno object\n')
    with pytest.raises(DataError, match=r"rows\.jsonl:2: not an object with text, label"):
        prepare(replace(spec, files=(str(path),)), str(tmp_path / "cache"))


def test_the_header_is_split_as_its_format_says(spec: PrepareSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(readers.READERS, ".csv", Semicolons())  # type: ignore[arg-type]
    path = tmp_path / "rows.csv"
    given = replace(spec, files=(str(path),), skip_header=True)
    path.write_text("text;label\ngood;pos\n")
    assert prepare(given, str(tmp_path / "cache")).num_rows == 1
    path.write_text("label;text\npos;good\n")
    with pytest.raises(DataError, match="'text' is column 2 of the header, but column 1 of"):
        prepare(given, str(tmp_path / "cache"))
