"""Joined sets: rows of all members under unique names, labels where they are known, side tables joined alike."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from raykd.data.join_sets import join_sets, join_sides
from raykd.data.parquet_files import write_part
from raykd.data.planned_reader import ReadRequest
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.side_tables import ROW_ID, SideTable, commit, logits_array, logits_numpy
from raykd.data.step_stream import StepRows, local_feed
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError
from raykd.task_kinds import task_kind

LABELLED, UNLABELLED = 5, 9


@pytest.fixture(params=["single_label", "multi_label", "regression"])
def members(request: Any, spec: PrepareSpec, tmp_path: Path) -> list[TokenisedSet]:
    """Two files of labelled rows, and one of texts alone whose shard number one of them has too."""
    cell = {"single_label": "pos", "multi_label": "neg,pos", "regression": "1.5"}[request.param]
    for name, rows in (("a.tsv", 2), ("b.tsv", LABELLED - 2)):
        (tmp_path / name).write_text(f"good film\t{cell}\n" * rows)
    (tmp_path / "more.tsv").write_text("bad book\n" * UNLABELLED)
    codec = task_kind(request.param).label_codec(("neg", "pos"))
    labelled = replace(spec, files=(str(tmp_path / "a.tsv"), str(tmp_path / "b.tsv")), codec=codec)
    more = replace(spec, files=(str(tmp_path / "more.tsv"),), input_schema="text:str:1", label=None, codec=None)
    return [prepare(one, str(tmp_path / "cache")) for one in (labelled, more)]


def score(prepared: TokenisedSet, folder: Path, shift: float) -> SideTable:
    """A side table whose logits follow from a row's number and a shift."""

    def table(group: int) -> pa.Table:
        names = prepared.read_group(group, ROW_ID)
        rows = names["row"].to_numpy() + shift
        return names.append_column("logits", logits_array(np.stack([rows, -rows], axis=1)))

    groups = range(len(prepared.group_rows))
    return commit(str(folder), prepared, [write_part(str(folder), 0, map(table, groups))], ["logits"], {})


def test_rows_have_unique_names_and_labels_where_they_are_known(members: list[TokenisedSet]) -> None:
    joined = join_sets(members, labelled=1)
    assert TokenisedSet.open(joined.path) == joined
    assert joined.num_rows == LABELLED + UNLABELLED
    rows = pa.concat_tables([joined.read_group(group) for group in range(len(joined.group_rows))])
    assert rows.column_names == list(joined.column_names)
    assert len(set(zip(rows["shard"].to_pylist(), rows["row"].to_pylist(), strict=True))) == joined.num_rows
    assert [joined.sources[shard].path.rsplit("/", 1)[-1] for shard in rows["shard"].to_pylist()] == (
        ["a.tsv"] * 2 + ["b.tsv"] * 3 + ["more.tsv"] * UNLABELLED
    )
    assert rows["labelled"].to_pylist() == [True] * LABELLED + [False] * UNLABELLED
    own = pa.concat_tables([members[0].read_group(group) for group in range(len(members[0].group_rows))])
    assert rows["label"].slice(0, LABELLED).equals(own["label"])
    assert not np.any(rows["label"].slice(LABELLED).to_pylist())


def test_some_columns_of_a_group(members: list[TokenisedSet]) -> None:
    joined = join_sets(members, labelled=1)
    last = len(joined.group_rows) - 1
    for columns in (["shard", "row"], ["label"], ["labelled", "length"], ["row", "label", "labelled"]):
        for group in (0, last):
            assert joined.read_group(group, columns).equals(joined.read_group(group).select(columns))


def test_side_tables_follow_their_rows(members: list[TokenisedSet], tmp_path: Path) -> None:
    joined = join_sets(members, labelled=1)
    sides = [score(one, tmp_path / f"logits/{name}", shift) for one, name, shift in zip(members, "ab", (0, 100), strict=True)]
    side = join_sides(sides, members, joined, str(tmp_path / "logits/all"))
    settings = {"seed": 1, "batch_size": 4, "rank": 0, "world": 1, "start_step": 0, "stop_step": 4}
    steps: list[StepRows] = list(local_feed(ReadRequest(joined.path, (side.path,), **settings)))  # type: ignore[arg-type]  # values of several types
    rows = pa.concat_tables([step.table for step in steps])
    assert rows.num_rows == joined.num_rows
    expected = rows["row"].to_numpy() + np.where(rows["labelled"].to_numpy(), 0, 100)
    assert logits_numpy(rows["logits"])[:, 0].tolist() == expected.tolist()


def test_a_table_of_other_rows_is_refused(members: list[TokenisedSet], tmp_path: Path) -> None:
    sides = [score(one, tmp_path / f"logits/{number}", 0) for number, one in enumerate(members)]
    with pytest.raises(DataError, match="was made for other rows"):
        join_sides(sides[::-1], members, join_sets(members, labelled=1), str(tmp_path / "logits/all"))


def test_one_member_is_returned_as_it_is(members: list[TokenisedSet], tmp_path: Path) -> None:
    side = score(members[0], tmp_path / "side", 0)
    assert join_sets(members[:1], labelled=1) is members[0]
    assert join_sides([side], members[:1], members[0], str(tmp_path / "all")) is side


def test_a_member_that_was_prepared_again_is_found(members: list[TokenisedSet]) -> None:
    join_sets(members, labelled=1)
    again = replace(members[1], parts=tuple(replace(part, digest="another") for part in members[1].parts))
    joined = join_sets([members[0], again], labelled=1)
    assert TokenisedSet.open(joined.path).parts[-1].digest == "another"


def test_another_tokenizer_is_refused(
    members: list[TokenisedSet], spec: PrepareSpec, make_tokenizer: Callable[..., str], tmp_path: Path
) -> None:
    plain = replace(spec, tokenizer=make_tokenizer("plain", token_types=False), label=None, codec=None)
    (tmp_path / "rows.tsv").write_text("good\tpos\n")
    with pytest.raises(DataError, match="another tokenizer"):
        join_sets([members[0], prepare(plain, str(tmp_path / "cache"))], labelled=1)
