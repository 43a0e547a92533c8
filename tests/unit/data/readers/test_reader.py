"""The lookup of file formats: a new one is a reader and a line of the lookup."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

import pytest

from raykd.config.file_formats import SUFFIXES, FormatName
from raykd.data import readers
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.readers import FileFormat, Reader, reader_of
from raykd.data.readers.arrow import ArrowReader
from raykd.data.readers.csv import CsvReader
from raykd.data.readers.json_lines import JsonLinesReader
from raykd.data.readers.parquet import ParquetReader
from raykd.data.readers.tsv import TsvReader
from raykd.errors import ConfigError, DataError


class Semicolons(TsvReader):
    """Cells separated by semicolons."""

    suffixes = (".ssv",)

    def cells(self, data: str, names: Sequence[str]) -> list[str]:
        return super().cells(data.replace(";", "\t"), names)


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz", "a.txt", "a.gz", "a", "s3://bucket/a.tsv"])
def test_files_are_tsv_unless_their_name_says_otherwise(name: str) -> None:
    assert isinstance(reader_of(name), TsvReader)


def test_a_new_format_needs_a_reader_and_its_entry_only(
    spec: PrepareSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(readers.READERS, "semicolons", Semicolons)  # type: ignore[arg-type]  # a reader of this test
    path = tmp_path / "rows.ssv"
    path.write_text("good film;pos\nbad;neg\n;neg\n")
    for files in (FileFormat(None), FileFormat("semicolons")):
        prepared = prepare(replace(spec, files=(str(path),), format=files), str(tmp_path / "cache"))
        table = prepared.read_group(0).to_pydict()
        assert table["label"] == [1, 0, 0]
        assert [len(ids) for ids in table["input_ids"]] == [4, 3, 2]


def test_the_header_is_split_as_its_format_says(spec: PrepareSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(readers.READERS, "semicolons", Semicolons)  # type: ignore[arg-type]  # a reader of this test
    path = tmp_path / "rows.ssv"
    given = replace(spec, files=(str(path),), skip_header=True, format=FileFormat(None))
    path.write_text("text;label\ngood;pos\n")
    assert prepare(given, str(tmp_path / "cache")).num_rows == 1
    path.write_text("label;text\npos;good\n")
    with pytest.raises(DataError, match="'text' is column 2 of the header, but column 1 of"):
        prepare(given, str(tmp_path / "cache"))


@pytest.mark.parametrize(
    ("name", "reader"),
    [
        ("a.csv", CsvReader),
        ("s3://bucket/a.csv.gz", CsvReader),
        ("a.jsonl.zst", JsonLinesReader),
        ("a.ndjson", JsonLinesReader),
        ("a.parquet", ParquetReader),
        ("data-00000-of-00001.arrow", ArrowReader),
        ("a.txt", TsvReader),
    ],
)
def test_a_name_selects_the_format_where_none_is_given(name: str, reader: type[Reader]) -> None:
    assert type(reader_of(name, FileFormat(None))) is reader
    assert type(reader_of(name)) is TsvReader, "EasyNLP's files are TSV whatever their names"
    assert type(reader_of("a.tsv", FileFormat("csv"))) is CsvReader


def test_the_configuration_has_the_names_of_all_formats() -> None:
    assert get_args(FormatName) == tuple(readers.READERS)
    assert {name: reader.suffixes for name, reader in readers.READERS.items()} == SUFFIXES


def test_an_unknown_format_and_a_compressed_binary_file_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"data\.format = 'excel': formats are tsv, csv, jsonl, parquet, arrow"):
        reader_of("a.csv", FileFormat("excel"))
    with pytest.raises(DataError, match=r"a\.parquet\.gz: files of this format are compressed inside"):
        reader_of("a.parquet.gz", FileFormat(None))
