"""Rows of each kind of object as the same file."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.api import arrow_rows
from raykd.api.arrow_rows import ArrowRows
from raykd.errors import DataError

TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
ROWS = st.lists(st.tuples(TEXTS, st.integers(-3, 3)), min_size=1, max_size=40)


def written(folder: Path, given: Any, texts: tuple[str, ...] = ("text",), others: tuple[str, ...] = ("label",)) -> bytes:
    path = folder / "rows.parquet"
    ArrowRows("data['train']", given, texts, others).write(path)
    return path.read_bytes()


@settings(max_examples=15)
@given(rows=ROWS, cut=st.integers(1, 40))
def test_the_file_depends_on_the_rows_alone(rows: list[tuple[str, int]], cut: int, tmp_path_factory: Any) -> None:
    datasets = pytest.importorskip("datasets", reason="pip install datasets")
    folder = tmp_path_factory.mktemp("rows")
    columns = {"label": [label for _, label in rows], "unused": list(range(len(rows))), "text": [text for text, _ in rows]}
    table = pa.table(columns)
    expected = written(folder, table)
    assert pq.read_table(folder / "rows.parquet").to_pydict() == {name: columns[name] for name in ("text", "label")}
    in_pieces = pa.concat_tables([table.slice(0, cut), table.slice(cut)])
    categories = pd.DataFrame(columns).astype({"text": "category"})
    shuffled = datasets.Dataset.from_dict({name: list(reversed(values)) for name, values in columns.items()})
    for other in (pd.DataFrame(columns), categories, in_pieces, shuffled.select(range(len(rows) - 1, -1, -1))):
        assert written(folder, other) == expected


def test_row_groups_have_one_size_whatever_the_batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arrow_rows, "GROUP_ROWS", 4)
    table = pa.table({"text": [str(number) for number in range(11)], "label": list(range(11))})
    pieces = pa.concat_tables([table.slice(0, 3), table.slice(3, 5), table.slice(8)])
    assert written(tmp_path, pieces) == written(tmp_path, table)
    file = pq.ParquetFile(tmp_path / "rows.parquet")
    assert [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)] == [4, 4, 3]


def test_nested_columns_are_written_whole(tmp_path: Path) -> None:
    table = pa.table({"review": [{"text": "a", "stars": 1}], "label": ["x"]})
    written(tmp_path, table, texts=(), others=("review.stars", "label"))
    assert pq.read_table(tmp_path / "rows.parquet").column_names == ["review", "label"]


FRAME = pd.DataFrame({"text": ["a", "b"], "label": [0, 1]})


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", 1)], r"data\['train'\] is of type list; give a pandas DataFrame, pyarrow Table"),
        ("rows.csv", "is of type str"),
        (FRAME["text"], "is of type Series"),
        (FRAME.rename(columns={"text": "txt"}), "there is no column 'text', but txt, label; did you mean txt"),
        (FRAME.rename(columns={"label": 3}), "there is no column 'label', but text"),
        (FRAME.iloc[:0], "has no rows"),
        (FRAME[["text", "text", "label"]], "several columns are called 'text'"),
        (FRAME.assign(text=[1, 2]), "column 'text' is int64, not text"),
        (
            FRAME.assign(label=["a", 1]),
            r"column 'label' cannot be stored \(its values are of the types int, str\); give values",
        ),
        (FRAME.assign(label=[2**70, 1]), "column 'label' cannot be stored .*int.*numbers of at most 64 bits, or lists"),
        (FRAME.assign(label=[1j, 2j]), "column 'label' cannot be stored .*complex.*give values of one type in every row"),
        (FRAME.assign(label=[object(), object()]), "column 'label' cannot be stored .*its values are of the type object"),
        (FRAME.assign(label=[pd.Period("2020"), None]), "column 'label' cannot be stored .*it is .*period"),
        (FRAME.assign(label=[pd.DateOffset(months=1)] * 2), "column 'label' cannot be stored .*it is month_day_nano_interval"),
        (FRAME.assign(text=["a", 1]), r"column 'text' is not text in every row \(its values are of the types int, str\); give"),
        (
            FRAME.assign(text=pd.Series(["a", "\ud800"], dtype=object)),
            r"column 'text' is not text in every row .*surrogates.*that UTF-8 can encode",
        ),
        (FRAME.assign(text=["a", None]), r"row 1 \(from 0\): column 'text' is missing"),
        (FRAME.assign(label=[1.0, None]), r"row 1 \(from 0\): column 'label' is missing"),
        (FRAME.assign(text=[b"a", b"b"]), "column 'text' is binary, not text"),
    ],
)
def test_wrong_rows_are_one_sentence(rows: Any, message: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=message) as caught:
        written(tmp_path, rows)
    assert "\n" not in str(caught.value)


def test_missing_values_may_be_left_to_the_count_of_rejected_rows(tmp_path: Path) -> None:
    ArrowRows("data", FRAME.assign(text=["a", None]), ["text"], ["label"], allow_missing=True).write(tmp_path / "rows.parquet")
    assert pq.read_table(tmp_path / "rows.parquet")["text"].to_pylist() == ["a", None]
