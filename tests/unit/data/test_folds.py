"""Folds, trainings that leave one out, and logits made of other logits."""

import numpy as np
import pyarrow as pa
import pytest

from raykd.data.folds import Fold, assign_folds
from raykd.data.logits_mix import average_logits, gather_folds
from raykd.data.parquet_files import write_part
from raykd.data.planned_reader import ReadRequest
from raykd.data.side_tables import commit, logits_array, logits_numpy
from raykd.data.step_stream import local_feed
from raykd.errors import DataError

WORDS = ("good", "bad", "film", "book", "a", "b", "c")


@pytest.fixture
def prepared(prepare_rows, monkeypatch):
    """600 rows in row groups of 64, some of them equal."""
    from raykd.data import chunks

    monkeypatch.setattr(chunks, "GROUP_ROWS", 64)
    draw = np.random.default_rng(0)
    rows = [" ".join(draw.choice(WORDS, size=draw.integers(1, 6))) for _ in range(600)]
    return prepare_rows("".join(f"{text}\t{draw.choice(['neg', 'pos'])}\n" for text in rows))


def members(folds, prepared):
    """Fold of each row, ``[N]``; every row belongs to one."""
    each = [
        np.concatenate([fold.members(group, prepared.read_group(group)) for group in range(len(prepared.group_rows))])
        for fold in folds
    ]
    assert (np.sum(each, axis=0) == 1).all()
    return np.argmax(each, axis=0)


def tokens(prepared):
    groups = [prepared.read_group(group)["input_ids"].to_pylist() for group in range(len(prepared.group_rows))]
    return [tuple(row) for group in groups for row in group]


def side_of(prepared, folder, logits):
    bounds = np.cumsum([0, *prepared.group_rows])
    tables = (
        prepared.read_group(group, ["shard", "row"]).append_column(
            "logits", logits_array(logits[bounds[group] : bounds[group + 1]])
        )
        for group in range(len(prepared.group_rows))
    )
    return commit(str(folder), prepared, [write_part(str(folder), 0, tables)], ["logits"], {})


def read(side):
    return np.concatenate([logits_numpy(side.read_group(group)["logits"]) for group in range(len(side.group_rows))])


def test_every_row_has_one_fold_and_equal_texts_share_it(prepared, tmp_path):
    folds = assign_folds(prepared, 4, str(tmp_path / "cache"))
    belongs = members(folds, prepared)
    assert min(np.bincount(belongs, minlength=4)) > 60
    by_text = {}
    for text, fold in zip(tokens(prepared), belongs, strict=True):
        assert by_text.setdefault(text, fold) == fold
    assert len(by_text) < len(belongs), "some texts are there twice"
    assert [int(fold.rows_outside.sum()) for fold in folds] == [int((belongs != number).sum()) for number in range(4)]
    assert assign_folds(prepared, 4, str(tmp_path / "cache")) == folds


@pytest.mark.parametrize("world", [1, 2])
def test_a_feed_without_a_fold_has_every_other_row_once_an_epoch(prepared, tmp_path, world):
    folds = assign_folds(prepared, 3, str(tmp_path / "cache"))
    belongs = members(folds, prepared)
    left_out = {(0, row) for row in np.flatnonzero(belongs == 1)}
    steps = -(-int((belongs != 1).sum()) // 16)
    seen = []
    for rank in range(world):
        arguments = {"seed": 3, "batch_size": 16, "window": 4, "rank": rank, "world": world, "start_step": 0}
        with local_feed(ReadRequest(prepared.path, (), **arguments, stop_step=2 * steps, without=folds[1])) as feed:
            for step in feed:
                seen += zip(step.table["shard"].to_pylist(), step.table["row"].to_pylist(), strict=True)
    assert sorted(seen) == sorted(2 * [(0, row) for row in range(600) if (0, row) not in left_out])


def test_too_few_rows_for_the_folds(prepare_rows, tmp_path):
    prepared = prepare_rows("good\tpos\nbad\tneg\n")
    with pytest.raises(DataError, match=r"fold \d of 10 has no rows: 2 are too few; lower logits.folds"):
        assign_folds(prepared, 10, str(tmp_path / "cache"))


def test_held_out_folds_make_one_table(prepared, tmp_path):
    folds = assign_folds(prepared, 3, str(tmp_path / "cache"))
    belongs, draw = members(folds, prepared), np.random.default_rng(1)
    each = [draw.normal(size=(600, 2)).astype(np.float32) for _ in folds]
    for number, logits in enumerate(each):
        logits[belongs != number] = np.nan
    sides = [side_of(prepared, tmp_path / f"fold-{number}", logits) for number, logits in enumerate(each)]
    made = read(gather_folds(sides, folds, prepared, str(tmp_path / "made")))
    assert np.isfinite(made).all()
    assert all((made[row] == each[belongs[row]][row]).all() for row in range(600))


def test_teachers_are_averaged_with_their_weights(prepared, tmp_path):
    draw = np.random.default_rng(1)
    first, second = (draw.normal(size=(600, 2)).astype(np.float32) for _ in range(2))
    sides = [side_of(prepared, tmp_path / name, logits) for name, logits in (("a", first), ("b", second))]
    made = read(average_logits(sides, [3.0, 1.0], prepared, str(tmp_path / "made")))
    np.testing.assert_allclose(made, 0.75 * first + 0.25 * second, rtol=1e-6, atol=1e-7)


def test_teachers_of_other_labels_or_rows_cannot_be_averaged(prepared, prepare_rows, tmp_path):
    sides = [side_of(prepared, tmp_path / str(width), np.zeros((600, width), np.float32)) for width in (2, 3)]
    with pytest.raises(DataError, match=r"teachers have \[2, 3\] logits a row"):
        average_logits(sides, [1, 1], prepared, str(tmp_path / "made"))
    other = prepare_rows("good\tpos\nbad\tneg\n")
    with pytest.raises(DataError, match="was made for other rows"):
        average_logits(sides[:1], [1], other, str(tmp_path / "made"))


def test_folds_of_other_rows_are_refused(prepared, prepare_rows, tmp_path):
    (fold, _) = assign_folds(prepared, 2, str(tmp_path / "cache"))
    other = prepare_rows("good\tpos\nbad\tneg\n")
    with pytest.raises(DataError, match="was made for other rows"):
        local_feed(ReadRequest(other.path, (), seed=1, batch_size=2, rank=0, world=1, start_step=0, stop_step=1, without=fold))
    assert isinstance(Fold(fold.table, 1).without(0, prepared.read_group(0)), pa.Table)
