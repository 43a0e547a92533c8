"""Logits made elsewhere, as Parquet."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raykd.data.logits_parquet import FINGERPRINT, import_parquet
from raykd.data.side_tables import logits_numpy
from raykd.data.splits import HashRange
from raykd.errors import DataError, RaykdError

ROWS = 300
LOGITS = np.random.default_rng(5).normal(size=(ROWS, 2)).astype(np.float32)


@pytest.fixture
def prepared(prepare_rows, monkeypatch):
    """Those of 300 rows that fall into one part of a split, in small row groups."""
    from raykd.data import chunks, logits_parquet

    monkeypatch.setattr(chunks, "GROUP_ROWS", 50)
    monkeypatch.setattr(logits_parquet, "GROUP_ROWS", 32)
    text = "".join(f"good {'a ' * (row % 7)}{'b ' * (row % 11)}c{row}\tpos\n" for row in range(ROWS))
    return prepare_rows(text, keep=HashRange(0.3, 1))


@pytest.fixture
def write(tmp_path):
    def make(logits=LOGITS, *, names=None, metadata=None, column="logits", **more):
        table = pa.table({**more, column: pa.array(list(map(list, logits)), pa.list_(pa.float64()))})
        if names is not None:
            shard, row = np.asarray(names).T
            table = table.append_column("shard", pa.array(shard)).append_column("row", pa.array(row))
        path = str(tmp_path / "logits.parquet")
        pq.write_table(table.replace_schema_metadata(metadata), path)
        return path

    return make


def imported(prepared, path, tmp_path, **options):
    side = import_parquet(path, prepared, out=str(tmp_path / "side"), **options)
    names = [prepared.read_group(group, ["row"])["row"].to_numpy() for group in range(len(prepared.group_rows))]
    logits = [logits_numpy(side.read_group(group)["logits"]) for group in range(len(side.group_rows))]
    return np.concatenate(names), np.concatenate(logits)


def test_rows_in_order(prepared, write, tmp_path):
    rows, logits = imported(prepared, write(), tmp_path)
    assert 100 < len(rows) < ROWS
    np.testing.assert_array_equal(logits, LOGITS[rows])


def test_rows_by_name_in_any_order(prepared, write, tmp_path):
    order = np.random.default_rng(1).permutation(ROWS)
    path = write(LOGITS[order], names=[(0, row) for row in order], column="scores")
    rows, logits = imported(prepared, path, tmp_path, column="scores")
    np.testing.assert_array_equal(logits, LOGITS[rows])


def test_a_file_of_these_rows_is_taken_and_of_others_refused(prepared, write, tmp_path):
    imported(prepared, write(metadata={FINGERPRINT: prepared.rows_fingerprint}), tmp_path)
    with pytest.raises(DataError, match=r"was made for other rows than .*rows\.tsv has now \(0123, not "):
        imported(prepared, write(metadata={FINGERPRINT: "0123"}), tmp_path)


def changed(row, values):
    logits = LOGITS.astype(object)
    logits[row] = values
    return logits


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"logits": LOGITS[:-1]}, r"has 299 rows, but .*rows\.tsv has 300 rows"),
        ({"logits": changed(7, [float("nan"), 1.0])}, r"row 7 \(from 0\): \[nan, 1\.0\] is not finite"),
        ({"logits": [*LOGITS[:9], [1.0, 2.0, 3.0], *LOGITS[10:]]}, r"row 9 \(from 0\): 3 values, where 2 are needed"),
        ({"logits": changed(3, [None, 1.0])}, "has missing values in rows 0 to 31"),
        ({"column": "scores"}, r"has no column 'logits', but scores; set logits\.column"),
        ({"names": [(0, row) for row in [*range(ROWS - 1), 3]]}, r"has row 3 of file 0 \(both from 0\) twice"),
        ({"names": [(0, row) for row in range(1, ROWS + 1)]}, r"names row 300 of file 0 .*but .* \[300\] rows"),
        ({"names": [(0, row) for row in range(150)], "logits": LOGITS[:150]}, r"has no logits for row 1\d\d of file 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_named(content, message, prepared, write, tmp_path):
    with pytest.raises(DataError, match=message):
        imported(prepared, write(**content), tmp_path)


def test_text_and_other_files_are_no_logits(prepared, write, tmp_path):
    (tmp_path / "logits.parquet").write_text("0.5,0.5\n")
    with pytest.raises(DataError, match="is no Parquet file"):
        imported(prepared, str(tmp_path / "logits.parquet"), tmp_path)
    with pytest.raises(DataError, match="is of type string; logits are a list of numbers"):
        imported(prepared, write(text=["x"] * ROWS), tmp_path, column="text")
    with pytest.raises(DataError, match=r"absent\.parquet"):
        imported(prepared, str(tmp_path / "absent.parquet"), tmp_path)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=300))
def test_arbitrary_bytes_give_nothing_but_our_errors(prepared, tmp_path, content):
    path = tmp_path / "any.parquet"
    path.write_bytes(b"PAR1" + content + b"PAR1")
    with pytest.raises(RaykdError):
        imported(prepared, str(path), tmp_path)
