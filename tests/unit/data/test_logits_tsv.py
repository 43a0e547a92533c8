"""Logits as text: bit by bit the same after a round trip, and every line belongs to its row."""

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raykd.data.logits_tsv import import_tsv
from raykd.data.side_tables import SideTable, logits_numpy
from raykd.data.splits import HashRange
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError

PrepareRows = Callable[..., TokenisedSet]


def logits_of(side: SideTable) -> np.ndarray:
    return np.concatenate([logits_numpy(side.read_group(i)["logits"]) for i in range(len(side.group_rows))])


FLOATS = st.floats(width=32, allow_nan=False, allow_infinity=False)
BIT_PATTERNS = st.integers(0, 2**32 - 1).map(lambda bits: np.uint32(bits).view(np.float32)).filter(np.isfinite)


def round_trip(prepared: TokenisedSet, logits: np.ndarray, folder: Path) -> None:
    path = folder / "logits.tsv"
    path.write_text("".join(",".join(map(str, row)) + "\n" for row in logits))
    back = import_tsv(str(path), prepared, out=str(folder / "back"))
    assert logits_of(back).tobytes() == logits.tobytes()


@given(st.lists(st.tuples(FLOATS | BIT_PATTERNS, FLOATS | BIT_PATTERNS), min_size=10, max_size=10))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
def test_a_round_trip_changes_no_bit(prepare_rows: PrepareRows, tmp_path: Path, values: list[tuple[float, float]]) -> None:
    round_trip(prepare_rows("good\tpos\n" * 10), np.array(values, np.float32), tmp_path)


def test_a_round_trip_of_many_bit_patterns(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    bits = np.random.default_rng(1).integers(0, 2**32, 12_000, dtype=np.uint32)
    bits[:1000] &= 0x807FFFFF  # subnormal
    logits = bits.view(np.float32)
    logits = logits[np.isfinite(logits)][:10_000].reshape(5_000, 2)
    round_trip(prepare_rows("good\tpos\n" * 5_000), logits, tmp_path)


def test_lines_count_source_rows(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    (tmp_path / "z.tsv.gz").write_bytes(gzip.compress(b"head\n" + b"bad film\tneg\n" * 3000))
    lines = [f"text {number}\tpos\n" for number in range(2500)]
    content = "".join(["head\n", *lines[:1000], "\n", *lines[1000:]])
    files = (str(tmp_path / "z.tsv.gz"), str(tmp_path / "rows.tsv"))
    settings = {"files": files, "skip_header": True, "max_rejected_rows": 1, "keep": HashRange(0, 0.6)}
    prepared = prepare_rows(content, **settings)
    assert 1000 < prepared.num_rows < 5000
    (tmp_path / "logits.tsv").write_bytes(b"".join(b"id-%d\t%d,-%d\tx\r\n" % (i, i, i) for i in range(5501)))
    side = import_tsv(str(tmp_path / "logits.tsv"), prepared, column=1, out=str(tmp_path / "side"))
    for group in range(len(prepared.group_rows)):
        rows = side.read_group(group)
        lines = np.where(rows["shard"].to_numpy() == 0, 0, 2501) + rows["row"].to_numpy()
        assert np.array_equal(logits_numpy(rows["logits"]), np.stack([lines, -lines], axis=1).astype(np.float32))
    assert side.provenance["path"] == str(tmp_path / "logits.tsv")


@pytest.mark.parametrize(("rows", "logits"), [("\n\n", ""), ("", "\r\n\n"), ("\n", "\n\n\n")])
def test_blank_lines_at_the_end_have_no_logits(prepare_rows: PrepareRows, tmp_path: Path, rows: str, logits: str) -> None:
    prepared = prepare_rows(f"good\tpos\nbad\tneg\n{rows}")
    (tmp_path / "logits.tsv").write_text(f"1,2\n3,4\n{logits}")
    assert logits_of(import_tsv(str(tmp_path / "logits.tsv"), prepared, out=str(tmp_path / "side"))).tolist() == [
        [1, 2],
        [3, 4],
    ]


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        ("1,2\n", r"logits\.tsv has 1 lines, but .*rows\.tsv has 2 rows"),
        ("1,2\n1,2\n1,2\n", "has 3 lines, but"),
        ("1,2\n1,2,3\n", r"logits\.tsv:2: 3 values, where 2 are needed"),
        ("1,2\n\n", r"logits\.tsv has 1 lines"),
        ("\n1,2\n", r"logits\.tsv:1: '' is not numbers"),
        ("1,2\n1,two\n", r"logits\.tsv:2: '1,two' is not numbers joined by commas"),
        ("1,2\n1,nan\n", r"logits\.tsv:2: '1,nan' is not finite"),
        ("-inf,2\n1,1\n", r"logits\.tsv:1: '-inf,2' is not finite"),
        ("1,1e39\n1,1\n", r"logits\.tsv:1: .* is not finite"),
        ("1,2\n1;2\n", r"logits\.tsv:2: '1;2' is not numbers"),
        ("1,2\n1,\udcff\n", r"logits\.tsv:2: '1,\\\\xff' is not numbers"),
    ],
)
def test_what_does_not_fit_is_named(prepare_rows: PrepareRows, tmp_path: Path, content: str, complaint: str) -> None:
    prepared = prepare_rows("good\tpos\nbad\tneg\n")
    (tmp_path / "logits.tsv").write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(DataError, match=complaint):
        import_tsv(str(tmp_path / "logits.tsv"), prepared, out=str(tmp_path / "side"))


def test_a_missing_column_is_named(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    prepared = prepare_rows("good\tpos\n")
    (tmp_path / "logits.tsv").write_text("a\t1,2\n")
    with pytest.raises(DataError, match=r"logits\.tsv:1: there is no column 2; columns count from 0, and this line has 2"):
        import_tsv(str(tmp_path / "logits.tsv"), prepared, column=2, out=str(tmp_path / "side"))


def test_unlabelled_rows_agree_on_the_width(prepare_rows: PrepareRows, tmp_path: Path) -> None:
    prepared = prepare_rows("good\tpos\nbad\tneg\n", label=None, codec=None)
    (tmp_path / "logits.tsv").write_text("1, 2 ,3\n4,5,+6\n")
    side = import_tsv(str(tmp_path / "logits.tsv"), prepared, out=str(tmp_path / "side"))
    assert logits_of(side).tolist() == [[1, 2, 3], [4, 5, 6]]
    (tmp_path / "logits.tsv").write_text("1,2,3\n4,5\n")
    with pytest.raises(DataError, match=r"logits\.tsv:2: 2 values, where 3"):
        import_tsv(str(tmp_path / "logits.tsv"), prepared, out=str(tmp_path / "side"))
