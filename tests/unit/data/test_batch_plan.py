import hashlib
from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raykd.data import epoch_steps
from raykd.data.batch_plan import BatchPlan, PlannedBatch, slice_bounds
from raykd.errors import DataError

SMALL_POOL = 40


@pytest.fixture(autouse=True)
def _small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handful of rows spans several pools, as millions do outside of tests."""
    monkeypatch.setattr(epoch_steps, "POOL_ROWS", SMALL_POOL)


def lengths_of(group: int, rows: int) -> np.ndarray:
    return (np.arange(rows) * 7 + group * 13) % 61 + 1


def make(group_rows: list[int], *, seed: int = 1, batch_size: int = 4, window: int = 3, fingerprint: str = "f") -> BatchPlan:
    return BatchPlan(
        np.array(group_rows, dtype=np.int64),
        lambda g: lengths_of(g, group_rows[g]),
        seed=seed,
        batch_size=batch_size,
        window=window,
        fingerprint=fingerprint,
    )


def names(batch: PlannedBatch) -> list[tuple[int, int]]:
    return list(zip(batch.groups.tolist(), batch.offsets.tolist(), strict=True))


def sequence(plan: BatchPlan, start: int, stop: int) -> list[tuple[int, int, int, list[tuple[int, int]]]]:
    return [(b.step, b.index, b.longest, names(b)) for b in plan.batches(start, stop)]


GROUPS = st.lists(st.integers(0, 30), min_size=1, max_size=12).filter(lambda sizes: sum(sizes) > 0)
BATCH = st.integers(1, 17)
WINDOW = st.integers(1, 6)


@given(groups=GROUPS, batch_size=BATCH, window=WINDOW, epoch=st.integers(0, 5), seed=st.integers(0, 2**63))
@settings(max_examples=150)
def test_every_row_stands_in_every_epoch_once(groups: list[int], batch_size: int, window: int, epoch: int, seed: int) -> None:
    plan = make(groups, batch_size=batch_size, window=window, seed=seed)
    steps = plan.batches_per_epoch
    batches = list(plan.batches(epoch * steps, (epoch + 1) * steps))
    counted = Counter(name for batch in batches for name in names(batch))
    assert counted == Counter((g, i) for g, rows in enumerate(groups) for i in range(rows))
    assert [batch.num_rows for batch in batches] == [plan.num_rows(batch.step) for batch in batches]
    assert all(batch.num_rows == batch_size for batch in batches[:-1])
    assert [batch.epoch for batch in batches] == [epoch] * steps
    assert [plan.epoch_of(batch.step) for batch in batches] == [epoch] * steps


@given(groups=GROUPS, batch_size=BATCH, window=WINDOW, epoch=st.integers(0, 3))
@settings(max_examples=100)
def test_windows_are_the_sequence_of_batches(groups: list[int], batch_size: int, window: int, epoch: int) -> None:
    plan = make(groups, batch_size=batch_size, window=window)
    windows = [plan.window(epoch, w) for w in range(plan.windows_per_epoch)]
    flat = [batch for batches in windows for batch in batches]
    assert [batch.index for batch in flat] == list(range(plan.batches_per_epoch))
    assert all(len(batches) == window for batches in windows[:-1])
    for w, batches in enumerate(windows):
        assert [plan.window_of(batch.step) for batch in batches] == [w] * len(batches)
    start = epoch * plan.batches_per_epoch
    again = make(groups, batch_size=batch_size, window=window)
    assert [names(b) for b in flat] == [names(b) for b in again.batches(start, start + len(flat))]


@given(groups=GROUPS, batch_size=BATCH, window=WINDOW, start=st.integers(0, 200), count=st.integers(0, 60))
@settings(max_examples=100)
def test_resuming_at_a_step_gives_the_tail(groups: list[int], batch_size: int, window: int, start: int, count: int) -> None:
    whole = sequence(make(groups, batch_size=batch_size, window=window), 0, start + count)
    assert sequence(make(groups, batch_size=batch_size, window=window), start, start + count) == whole[start:]


@given(num_rows=st.integers(0, 300), world=st.integers(1, 40))
def test_slices_of_all_ranks_are_the_batch(num_rows: int, world: int) -> None:
    bounds = [slice_bounds(num_rows, rank, world) for rank in range(world)]
    assert bounds[0][0] == 0
    assert bounds[-1][1] == num_rows
    assert all(before[1] == after[0] for before, after in pairwise(bounds))
    sizes = [stop - start for start, stop in bounds]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) == -(-num_rows // world)


@given(groups=GROUPS, batch_size=BATCH, world=st.integers(1, 9))
@settings(max_examples=50)
def test_the_slices_of_all_ranks_are_the_batch(groups: list[int], batch_size: int, world: int) -> None:
    for batch in make(groups, batch_size=batch_size).batches(0, 3):
        slices = [slice(*slice_bounds(batch.num_rows, rank, world)) for rank in range(world)]
        assert np.concatenate([batch.offsets[part] for part in slices]).tolist() == batch.offsets.tolist()


@pytest.mark.parametrize("rank", [-1, 2])
def test_a_rank_outside_the_world_is_refused(rank: int) -> None:
    with pytest.raises(ValueError, match="world of 2"):
        slice_bounds(8, rank, 2)


@given(groups=GROUPS, batch_size=BATCH, window=WINDOW)
@settings(max_examples=100)
def test_a_batch_knows_the_length_of_its_longest_row(groups: list[int], batch_size: int, window: int) -> None:
    plan = make(groups, batch_size=batch_size, window=window)
    for batch in plan.batches(0, plan.batches_per_epoch):
        assert batch.longest == max(lengths_of(g, groups[g])[i] for g, i in names(batch))


@given(change=st.sampled_from(["seed", "epoch", "fingerprint"]))
def test_another_seed_epoch_or_data_set_gives_another_order(change: str) -> None:
    groups = [20, 20, 20]
    base, steps = make(groups), make(groups).batches_per_epoch
    rows = [row for batch in base.batches(0, steps) for row in names(batch)]
    other = make(groups, seed=2) if change == "seed" else make(groups, fingerprint="g" if change == "fingerprint" else "f")
    start = steps if change == "epoch" else 0
    assert rows != [row for batch in other.batches(start, start + steps) for row in names(batch)]


def test_same_arguments_give_the_same_order_whatever_the_global_random_state() -> None:
    first = sequence(make([20, 20, 20]), 0, 30)
    np.random.seed(3)  # noqa: NPY002
    np.random.random(7)  # noqa: NPY002
    assert sequence(make([20, 20, 20]), 0, 30) == first


def test_order_does_not_change_with_versions_of_numpy() -> None:
    """A checkpoint written elsewhere resumes in this order: a change here breaks every running job."""
    words = [value for step, _, _, rows in sequence(make([11, 0, 30, 7]), 0, 24) for value in (step, *sum(rows, ()))]
    assert hashlib.sha256(np.array(words, dtype="<i8").tobytes()).hexdigest()[:16] == "069a3196f9b09a1a"


def test_batches_hold_rows_of_like_length() -> None:
    plan = make([40], batch_size=4, window=10)
    windows = [plan.window(0, w) for w in range(plan.windows_per_epoch)]
    for batches in windows:
        spans = sorted((min(lens), max(lens)) for lens in ([lengths_of(g, 40)[i] for g, i in names(b)] for b in batches))
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
    shown = [batch.longest for batch in windows[0]]
    assert shown != sorted(shown), "the order of a window's batches is shuffled"


def test_the_short_batch_is_not_always_that_of_the_longest_rows() -> None:
    plan = make([39], batch_size=4, window=10)
    steps = plan.batches_per_epoch
    last = [next(plan.batches(epoch * steps + steps - 1, (epoch + 1) * steps)) for epoch in range(30)]
    assert all(batch.num_rows == 3 for batch in last)
    assert len({batch.longest for batch in last}) > 3


def test_rows_of_a_group_are_spread_over_windows() -> None:
    """Files are often sorted by label: neighbours in a file must not fill a window by themselves."""
    plan = make([10] * 12, batch_size=5, window=2)
    first = [g for batch in plan.window(0, 0) for g in batch.groups.tolist()]
    assert len(set(first)) > 2


def test_lengths_are_read_for_the_groups_of_the_windows_asked_for_and_not_kept() -> None:
    groups, calls = [10] * 400, []

    def lengths(group: int) -> np.ndarray:
        calls.append(group)
        return lengths_of(group, groups[group])

    plan = BatchPlan(np.array(groups, dtype=np.int64), lengths, seed=1, batch_size=5, window=2, fingerprint="f")
    assert calls == []
    assert plan.num_rows(3) == 5
    batches = plan.window(0, 200)
    pool = -(-SMALL_POOL // 10) + 1
    assert len(calls) <= pool
    assert {g for batch in batches for g in batch.groups.tolist()} <= set(calls)
    plan.window(0, 201)
    assert len(calls) == len(set(calls)) <= pool, "windows of one pool read each group once"
    for w in range(plan.windows_per_epoch):
        plan.window(0, w)
    once = len(calls)
    assert once <= 2 * len(groups)
    plan.window(0, 0)
    assert len(calls) > once, "groups of earlier windows are not kept"


def test_window_outside_the_epoch_is_refused() -> None:
    with pytest.raises(IndexError, match="windows 0 to 1"):
        make([20], batch_size=4, window=3).window(0, 2)


def test_no_rows_is_an_error_that_says_where_to_look() -> None:
    with pytest.raises(DataError, match="no rows"):
        make([0, 0])


@pytest.mark.parametrize(("batch_size", "window"), [(0, 1), (1, 0)])
def test_sizes_below_one_are_refused(batch_size: int, window: int) -> None:
    with pytest.raises(ValueError, match="must be 1 or more"):
        make([4], batch_size=batch_size, window=window)


def test_a_group_of_another_size_than_its_manifest_says_is_an_error() -> None:
    plan = BatchPlan(np.array([5]), lambda g: np.ones(4, dtype=np.int32), seed=1, batch_size=2, fingerprint="f")
    with pytest.raises(DataError, match="4 rows, but its manifest 5"):
        plan.window(0, 0)


def test_padding_is_a_small_share_at_the_default_window(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lengths like SST-2's (mean 13, tail to 66): sorted windows pad a fifth of what random batches pad."""
    monkeypatch.undo()
    rng = np.random.default_rng(0)
    sizes = [2048] * 16
    lengths = [np.clip(rng.gamma(1.6, 6.7, size) + 3, 3, 66).astype(np.int32) for size in sizes]

    def padding(window: int) -> float:
        plan = BatchPlan(np.array(sizes), lambda g: lengths[g], seed=1, batch_size=32, window=window, fingerprint="f")
        batches = list(plan.batches(0, plan.batches_per_epoch))
        places = sum(batch.num_rows * batch.longest for batch in batches)
        return 1 - sum(int(part.sum()) for part in lengths) / places

    unsorted, windowed = padding(1), padding(64)
    assert unsorted > 0.6
    assert windowed < 0.3
