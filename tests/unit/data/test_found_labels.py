"""Labels found in files: their order, their counts, and the values that are refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from raykd.config import DataConfig
from raykd.data import found_labels
from raykd.data.found_labels import find_labels
from raykd.errors import ConfigError, DataError

Find = Callable[..., dict[str, int]]


@pytest.fixture
def find(tmp_path: Path) -> Find:
    """Labels of ``train.jsonl`` with the given label values; keywords change the configuration."""

    def run(labels: list[Any], **changes: Any) -> dict[str, int]:
        rows = [{"text": f"good {number}", "label": label} for number, label in enumerate(labels)]
        (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        given = {"first_sequence": "text", "label": "label", "train": (str(tmp_path / "train.jsonl"),), **changes}
        return find_labels(DataConfig(**given), str(tmp_path / "cache"))

    return run


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["b", "a", "b"], {"a": 1, "b": 2}),
        ([10, 2, 2, -1], {"-1": 1, "2": 2, "10": 1}),
        ([1.0, "1", 0, True], {"0": 1, "1": 2, "true": 1}),
        (["a", "", "b", None, {"x": 1}], {"a": 1, "b": 1}),
        (["2", "1" * 5000, "10"], {"10": 1, "1" * 5000: 1, "2": 1}),
        (["b", "1" * 5000 + ".0"], {"1" * 5000 + ".0": 1, "b": 1}),
    ],
)
def test_labels_are_sorted_and_counted(labels: list[Any], expected: dict[str, int], find: Find) -> None:
    found = find(labels)
    assert found == expected
    assert list(found) == list(expected), "integers by their value, texts by their characters"


def test_labels_of_a_cell_are_counted_each(find: Find) -> None:
    assert find([["b", "a"], "a", "", "b,c"], task="multi_label") == {"a": 2, "b": 2, "c": 1}


def test_integers_of_every_format_are_one_spelling(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\na,1.0\nb,2\n")
    (tmp_path / "a.tsv").write_text("a\t1.0\nb\t2\n")
    pq.write_table(pa.table({"text": ["a", "b"], "label": [1.0, 2.0]}), tmp_path / "a.parquet")
    for name, schema in (("a.csv", None), ("a.tsv", "text:str:1,label:str:1"), ("a.parquet", None)):
        data = DataConfig(first_sequence="text", label="label", train=(str(tmp_path / name),), input_schema=schema)
        assert find_labels(data, str(tmp_path / "cache")) == {"1": 1, "2": 1}


def test_counting_is_one_pass_that_is_kept(find: Find, monkeypatch: pytest.MonkeyPatch) -> None:
    passes: list[str] = []
    reader_of = found_labels.reader_of
    monkeypatch.setattr(found_labels, "reader_of", lambda path, files: passes.append(path) or reader_of(path, files))
    assert find(["a", "b"]) == find(["a", "b"]) == {"a": 1, "b": 1}
    assert len(passes) == 1
    assert find(["a", "c"]) == {"a": 1, "c": 1}, "another content is read again"


def test_a_changed_header_is_read_before_counts_that_are_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    named = DataConfig(first_sequence="text", label="label", train=(str(path),))
    found = []
    for header in ("text,label,other", "text,other,label"):
        path.write_text(f"{header}\ngood,a,c\nbad,b,d\n")
        found.append(find_labels(named, str(tmp_path / "cache")))
    assert found == [{"a": 1, "b": 1}, {"c": 1, "d": 1}]
    by_position = {"input_schema": "text:str:1,label:str:1,other:str:1", "skip_header": True}
    skipped = DataConfig(first_sequence="text", label="label", train=(str(path),), **by_position)
    path.write_text("text,label,other\ngood,a,c\nbad,b,d\n")
    assert find_labels(skipped, str(tmp_path / "cache")) == {"a": 1, "b": 1}
    path.write_text("text,other,label\ngood,a,c\nbad,b,d\n")
    with pytest.raises(DataError, match=r"'label' is column 3 of the header, but column 2"):
        find_labels(skipped, str(tmp_path / "cache"))


def test_a_header_with_other_names_than_the_schema_is_not_taken_for_a_row(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("sentence\tclass\ngood\ta\nbad\tb\n")
    schema = {"input_schema": "text:str:1,label:str:1", "skip_header": True}
    data = DataConfig(first_sequence="text", label="label", train=(str(tmp_path / "a.tsv"),), **schema)
    assert find_labels(data, str(tmp_path / "cache")) == {"a": 1, "b": 1}


def test_what_cannot_be_labels_is_refused(find: Find, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"column 'label' has more than 1,000 labels \(0 1, 1 1, .* and 981 more\)"):
        find(list(range(1001)))
    assert len(find(list(range(1000)))) == 1000
    with pytest.raises(DataError, match=r"numbers that are not whole \(0\.5 2\); set data\.task to regression"):
        find([1.0, 0.5, 0.5])
    (tmp_path / "test.jsonl").write_text('{"text": "a", "label": "c"}\n{"text": "b", "label": "a"}\n')
    with pytest.raises(DataError, match=r"data\.test has labels that data\.train does not have: c 1; add training rows"):
        find(["a", "b"], test=(str(tmp_path / "test.jsonl"),))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["pos", "pos "], r"differ in white space or case alone: 'pos' 1, 'pos ' 1; spell them alike, or list data\.labels"),
        (["pos", "Pos", "neg"], r"'pos' 1, 'Pos' 1"),
        (["a", "a"], r"data\.train has one label alone in column 'label': a 2; .* add rows of others, name another column"),
        ([None, "a", None], r"has one label alone in column 'label': a 1"),
        (["", ""], r"data\.train has no label in column 'label': every label is empty"),
        (
            [None, None],
            r"no label in column 'label': .*train\.jsonl:1: column 'label' is missing \(null\), not a label; name other",
        ),
        ([], r"no label in column 'label': there is no row in .*train\.jsonl"),
    ],
)
def test_a_column_without_usable_labels_says_why(labels: list[Any], message: str, find: Find) -> None:
    with pytest.raises(DataError, match=message):
        find(labels)


def test_files_without_the_columns_are_named_before_their_labels(find: Find, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("text,label\na,b\n")
    with pytest.raises(ConfigError, match=r"rows\.txt does not name its columns: give data\.input_schema"):
        find(["a", "b"], train=(str(tmp_path / "rows.txt"),))
    (tmp_path / "empty.csv").write_text("")
    with pytest.raises(DataError, match=r"empty\.csv: there is no column 'text', nor any other"):
        find(["a", "b"], train=(str(tmp_path / "empty.csv"),))
    for columns in ({}, {"text": ["a"]}):
        pq.write_table(pa.table(columns).select([]), tmp_path / "empty.parquet")
        with pytest.raises(DataError, match=r"empty\.parquet: there is no column 'text', nor any other"):
            find(["a", "b"], train=(str(tmp_path / "empty.parquet"),))
