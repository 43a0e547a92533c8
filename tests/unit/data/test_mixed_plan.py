"""Batches with a fixed share of unlabelled rows: the share of every batch, passes over all rows, and resuming at a step."""

import hashlib
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from raykd.data import epoch_steps
from raykd.data.batch_plan import PlannedBatch
from raykd.data.join_sets import join_sets
from raykd.data.mixed_plan import MixedPlan, unlabelled_rows
from raykd.data.planned_reader import ReadRequest
from raykd.data.step_stream import local_feed
from raykd.data.tokenised_set import SourceFile, TokenisedSet
from raykd.errors import ConfigError
from tests.planned_set import write_set


@pytest.fixture(autouse=True)
def _small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of rows spans several pools, as millions do outside of tests."""
    monkeypatch.setattr(epoch_steps, "POOL_ROWS", 40)


def make(
    labelled: list[int], unlabelled: list[int], *, fraction: float = 0.5, batch_size: int = 4, window: int = 3, seed: int = 1
) -> MixedPlan:
    sizes = [*labelled, *unlabelled]
    return MixedPlan(
        np.array(sizes, dtype=np.int64),
        lambda g: (np.arange(sizes[g]) * 7 + g * 13) % 61 + 1,
        labelled_groups=len(labelled),
        fraction=fraction,
        seed=seed,
        batch_size=batch_size,
        window=window,
        fingerprint="f",
    )


def names(batch: PlannedBatch) -> list[tuple[int, int]]:
    return list(zip(batch.groups.tolist(), batch.offsets.tolist(), strict=True))


def steps(plan: MixedPlan, start: int, stop: int) -> list[PlannedBatch]:
    """The batches of the steps, window by window as they are read."""
    found: dict[int, PlannedBatch] = {}
    for step in range(start, stop):
        if step not in found:
            found |= {batch.step: batch for batch in plan.window(plan.epoch_of(step), plan.window_of(step))}
    return [found[step] for step in range(start, stop)]


GROUPS = st.lists(st.integers(0, 30), min_size=1, max_size=6)
BATCH = st.integers(2, 17)
WINDOW = st.integers(1, 6)


@given(labelled=GROUPS, unlabelled=GROUPS, fraction=st.floats(0.01, 0.99), batch_size=BATCH, window=WINDOW)
@settings(max_examples=60)
def test_every_batch_is_whole_and_has_the_share(
    labelled: list[int], unlabelled: list[int], fraction: float, batch_size: int, window: int
) -> None:
    taken = unlabelled_rows(batch_size, fraction)
    assume(sum(labelled) >= batch_size - taken and sum(unlabelled) >= taken)
    plan = make(labelled, unlabelled, fraction=fraction, batch_size=batch_size, window=window)
    assert plan.batches_per_epoch == -(-(sum(labelled) + sum(unlabelled)) // batch_size)
    sizes = [*labelled, *unlabelled]
    for batch in steps(plan, 0, 2 * plan.batches_per_epoch):
        rows = names(batch)
        assert len(set(rows)) == len(rows) == plan.num_rows(batch.step) == batch_size
        assert sum(group >= len(labelled) for group, _ in rows) == taken
        assert all(offset < sizes[group] for group, offset in rows)
        assert batch.longest == max((offset * 7 + group * 13) % 61 + 1 for group, offset in rows)


@given(labelled=GROUPS, unlabelled=GROUPS, batch_size=BATCH, window=WINDOW, start=st.integers(0, 60))
@settings(max_examples=60)
def test_resuming_at_a_step_gives_the_tail(
    labelled: list[int], unlabelled: list[int], batch_size: int, window: int, start: int
) -> None:
    count = 20
    assume(min(sum(labelled), sum(unlabelled)) >= batch_size)
    whole, resumed = (make(labelled, unlabelled, batch_size=batch_size, window=window) for _ in range(2))
    expected = [(one.step, names(one), one.longest) for one in steps(whole, 0, start + count)][start:]
    assert [(one.step, names(one), one.longest) for one in steps(resumed, start, start + count)] == expected


def test_order_does_not_change_with_versions_of_numpy() -> None:
    """A checkpoint written elsewhere resumes in this order."""
    words = [value for batch in steps(make([30, 11], [40]), 0, 24) for value in (batch.step, *sum(names(batch), ()))]
    assert hashlib.sha256(np.array(words, dtype="<i8").tobytes()).hexdigest()[:16] == "ba4818c6d633e7a9"


def test_passes_cover_all_rows_and_leave_other_ones_out() -> None:
    """7 labelled rows, 2 a batch: 6 of them each pass, and over many passes each as often."""
    plan = make([7], [10, 10], batch_size=4)
    counts = Counter(row for batch in steps(plan, 0, 700) for row in names(batch))
    seen = np.array([counts[0, row] for row in range(7)])
    assert seen.sum() == 1400
    assert (np.abs(seen - 200) < 30).all()
    unlabelled = [counts[group, row] for group in (1, 2) for row in range(10)]
    assert set(unlabelled) == {70}, "20 rows, 2 a batch: whole passes"


def test_parts_of_like_length_are_joined() -> None:
    """Padding of batches is that of the longer part, which would be longer with parts in any order."""
    plan = make([300], [300], batch_size=8, window=32)
    lengths = [np.array([(offset * 7 + group * 13) % 61 + 1 for group, offset in names(batch)]) for batch in steps(plan, 0, 64)]
    spread = np.mean([one.max() - one.min() for one in lengths])
    assert spread < 20, "of 61 in any order"


@pytest.fixture
def joined(tmp_path: Path) -> TokenisedSet:
    source = (SourceFile("rows.tsv", 0, ""),)
    sets = [
        replace(write_set(tmp_path / name, groups, labelled=name == "a"), sources=source)
        for name, groups in (("a", (20, 7)), ("b", (30, 12)))
    ]
    return join_sets(sets, labelled=1)


@pytest.mark.parametrize("start", [0, 11, 30])
def test_slices_of_the_ranks_are_the_batches_and_have_rows_of_both_kinds(joined: TokenisedSet, start: int) -> None:
    def read(world: int) -> list[list[pa.Table]]:
        settings = {"seed": 3, "batch_size": 8, "window": 2, "unlabelled_fraction": 0.5, "world": world}
        settings |= {"start_step": start, "stop_step": 40}
        return [
            [step.table for step in local_feed(ReadRequest(joined.path, (), rank=rank, **settings))]  # type: ignore[arg-type]  # values of several types
            for rank in range(world)
        ]

    (whole,), halves = read(1), read(2)
    assert len(whole) == 40 - start
    for table, *parts in zip(whole, *halves, strict=True):
        assert sum(table["labelled"].to_pylist()) == 4
        assert pa.concat_tables(parts).select(["shard", "row"]).equals(table.select(["shard", "row"]).combine_chunks())
    mixed = [len(set(table["labelled"].to_pylist())) for rank in halves for table in rank]
    assert np.mean(mixed) > 1.8, "a rank has rows of one kind now and then, not as a rule"


def test_a_set_without_unlabelled_rows_has_the_plain_order(tmp_path: Path) -> None:
    plain = write_set(tmp_path / "plain", (20,))
    settings = {"seed": 3, "batch_size": 8, "rank": 0, "world": 1, "start_step": 0, "stop_step": 3}
    with_share, without = (
        [step.table for step in local_feed(ReadRequest(plain.path, (), unlabelled_fraction=share, **settings))]  # type: ignore[arg-type]  # values of several types
        for share in (0.5, None)
    )
    assert all(one.equals(other) for one, other in zip(with_share, without, strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"batch_size": 1}, "set batch_size to 2 or more"),
        ({"batch_size": 24}, r"takes 12 labelled rows for each batch of 24, but there are 9; raise it, or lower batch_size"),
        ({"batch_size": 24, "fraction": 0.95}, "takes 23 unlabelled rows for each batch of 24, but there are 20; lower it"),
    ],
)
def test_shares_that_the_rows_cannot_fill(settings: dict[str, float], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        make([9], [20], **settings)  # type: ignore[arg-type]  # values of several types
