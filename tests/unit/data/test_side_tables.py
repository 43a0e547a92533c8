"""Side tables: parts that cover the row groups, and joins that refuse other rows."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from raykd.data.parquet_files import PartInfo, write_part
from raykd.data.side_tables import ROW_ID, SideTable, commit, join, logits_array, logits_numpy
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError


@pytest.fixture
def prepared(prepare_rows: Callable[..., TokenisedSet], tmp_path: Path) -> TokenisedSet:
    """Row groups of 2048, 2 and 3 rows, in two parts."""
    (tmp_path / "z.tsv").write_text("good\tpos\n" * 3)
    return prepare_rows("bad\tneg\n" * 2050, files=(str(tmp_path / "rows.tsv"), str(tmp_path / "z.tsv")))


def side_rows(prepared: TokenisedSet, group: int) -> pa.Table:
    names = prepared.read_group(group, ROW_ID)
    return names.append_column("logits", logits_array(np.stack([names["row"].to_numpy(), -names["row"].to_numpy()], axis=1)))


def write(prepared: TokenisedSet, folder: Path, *groups: range) -> list[PartInfo]:
    return [write_part(str(folder), part.start, (side_rows(prepared, group) for group in part)) for part in groups]


@pytest.mark.parametrize("cut", [(range(3),), (range(2), range(2, 3)), (range(2, 3), range(1), range(1, 2))])
def test_a_table_joins_by_row(prepared: TokenisedSet, tmp_path: Path, cut: tuple[range, ...]) -> None:
    commit(str(tmp_path / "side"), prepared, write(prepared, tmp_path / "side", *cut), ["logits"], {"model": "m"})
    side = SideTable.open(str(tmp_path / "side"))
    assert side.columns == ("logits",)
    assert side.provenance == {"model": "m"}
    assert side.rows_fingerprint == prepared.rows_fingerprint
    assert side.group_rows.tolist() == prepared.group_rows.tolist()
    side.check_fits(prepared)
    for group in range(3):
        joined = join(prepared.read_group(group), side.read_group(group))
        rows = joined["row"].to_numpy().astype(np.float32)
        assert joined["logits"].type == pa.list_(pa.float32(), 2)
        assert np.array_equal(logits_numpy(joined["logits"]), np.stack([rows, -rows], axis=1))
        assert joined.column_names == [*prepared.read_group(group).column_names, "logits"]


def test_parts_must_cover_the_groups(prepared: TokenisedSet, tmp_path: Path) -> None:
    folder = tmp_path / "side"
    cases = {
        "cover 2 of 3 row groups": write(prepared, folder, range(2)),
        "expected were groups from 1 on": write(prepared, folder, range(1), range(2, 3)),
        "expected were groups from 2 on": write(prepared, folder, range(2), range(1, 3)),
        "with 3 rows": [*write(prepared, folder, range(2)), write_part(str(folder), 2, [side_rows(prepared, 1)])],
    }
    for complaint, parts in cases.items():
        with pytest.raises(DataError, match=complaint):
            commit(str(folder), prepared, parts, ["logits"], {})
    with pytest.raises(DataError, match="no side table"):
        SideTable.open(str(folder))


def test_a_join_refuses_other_rows(prepared: TokenisedSet) -> None:
    tokens, side = prepared.read_group(2), side_rows(prepared, 2)
    for rows in (side.take([0, 2, 1]), side.slice(0, 2)):
        with pytest.raises(DataError, match=r"'(row|shard)' differs"):
            join(tokens, rows)
    with pytest.raises(DataError, match="'shard' differs"):
        join(tokens, side_rows(prepared, 1))
    with pytest.raises(DataError, match="'label' stands in both"):
        join(tokens, side.rename_columns(["shard", "row", "label"]))


def test_a_table_of_other_rows_is_refused(prepared: TokenisedSet, tmp_path: Path) -> None:
    side = commit(str(tmp_path / "side"), prepared, write(prepared, tmp_path / "side", range(3)), ["logits"], {})
    with pytest.raises(DataError, match="made for other rows"):
        side.check_fits(replace(prepared, rows_fingerprint="other"))
    with pytest.raises(DataError, match="does not describe a prepared set"):
        TokenisedSet.open(side.path)


def test_a_damaged_part_is_named(prepared: TokenisedSet, tmp_path: Path) -> None:
    side = commit(str(tmp_path / "side"), prepared, write(prepared, tmp_path / "side", range(3)), ["logits"], {})
    part = tmp_path / "side" / side.parts[0].file
    part.write_bytes(b"not Parquet")
    with pytest.raises(DataError, match=f"{part} is damaged"):
        side.read_group(0)
    part.unlink()
    with pytest.raises(DataError, match=f"{part} does not exist"):
        side.read_group(0)


def test_a_part_knows_its_bytes(tmp_path: Path) -> None:
    part = write_part(str(tmp_path), 4, [pa.table({"x": [1, 2]}), pa.table({"x": [3]})])
    assert (part.position, part.groups, part.rows) == (4, (2, 1), 3)
    assert part.size == (tmp_path / part.file).stat().st_size
    assert PartInfo.from_json(part.to_json()) == part
    assert write_part(str(tmp_path), 4, []).rows == 0
    assert len(list(tmp_path.iterdir())) == 1


def test_writing_twice_leaves_both_files_and_counts_one(prepared: TokenisedSet, tmp_path: Path) -> None:
    first, second = (write(prepared, tmp_path / "side", range(3)) for _ in range(2))
    assert first[0].digest == second[0].digest
    side = commit(str(tmp_path / "side"), prepared, second, ["logits"], {})
    assert len(list((tmp_path / "side").glob("*.parquet"))) == 2
    assert [part.file for part in side.parts] == [second[0].file]
