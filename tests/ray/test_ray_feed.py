"""Rows through Ray Data: the rows of the local feed, from one execution that leaves the training process alone."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from raykd.data import ray_stream
from raykd.data.planned_reader import ReadRequest
from raykd.data.step_stream import Feed, StepRows, local_feed, ray_feed
from raykd.errors import DataError
from tests.planned_set import write_set, write_side

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]

GROUPS = (2048,) * 18
BATCH = 64
STEPS = sum(GROUPS) // BATCH
"""Steps of an epoch, which has two pools: three reading tasks for an epoch and a half."""


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, tuple[str, ...]]:
    folder = tmp_path_factory.mktemp("feed")
    prepared = write_set(folder / "set", GROUPS)
    write_side(folder / "side", prepared)
    return str(folder / "set"), (str(folder / "side"),)


def arguments(**changes: Any) -> dict[str, Any]:
    return {"seed": 3, "batch_size": BATCH, "rank": 0, "world": 1, "start_step": 0, "stop_step": STEPS} | changes


def assert_same(steps: Iterator[StepRows], expected: Iterator[StepRows]) -> None:
    for rows, other in zip(steps, expected, strict=True):
        assert (rows.step, rows.epoch, rows.num_rows) == (other.step, other.epoch, other.num_rows)
        assert rows.longest == other.longest
        assert rows.table.schema == other.table.schema
        assert rows.table.equals(other.table)


@pytest.fixture
def executions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with each iterator of Ray Data."""
    from ray.data import Dataset

    started: list[int] = []
    iter_batches = Dataset.iter_batches

    def counted(self: Dataset, **options: Any) -> Any:
        started.append(1)
        return iter_batches(self, **options)

    monkeypatch.setattr(Dataset, "iter_batches", counted)
    return started


@pytest.mark.parametrize(("rank", "world"), [(0, 1), (2, 3), (90, 100)])
def test_one_execution_gives_the_rows_of_the_local_feed_over_epochs(
    folders: tuple[str, tuple[str, ...]], rank: int, world: int, executions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_stream, "BLOCK_BYTES", 100_000)  # blocks end in the middle of windows and steps
    span = arguments(rank=rank, world=world, start_step=37, stop_step=37 + STEPS + STEPS // 2)
    with ray_feed(ReadRequest(*folders, **span)) as feed:
        assert_same(feed, local_feed(ReadRequest(*folders, **span)))
    assert len(executions) == 1


def test_two_feeds_run_beside_each_other(folders: tuple[str, tuple[str, ...]]) -> None:
    with (
        ray_feed(ReadRequest(*folders, **arguments())) as first,
        ray_feed(ReadRequest(*folders, **arguments(seed=4))) as second,
    ):
        expected = local_feed(ReadRequest(*folders, **arguments()))
        assert next(first).table.equals(next(expected).table)
        assert_same(second, local_feed(ReadRequest(*folders, **arguments(seed=4))))
        assert_same(first, expected)


def test_rows_come_where_every_cpu_is_taken(folders: tuple[str, tuple[str, ...]]) -> None:
    """As they are where training workers hold them all: a reading task that asked for one would wait for ever."""
    import ray
    from ray.util import placement_group, remove_placement_group

    held = placement_group([{"CPU": ray.cluster_resources()["CPU"]}])
    try:
        assert held.wait(60)
        with ray_feed(ReadRequest(*folders, **arguments())) as feed:
            assert_same(feed, local_feed(ReadRequest(*folders, **arguments())))
    finally:
        remove_placement_group(held)


def test_a_damaged_part_is_an_error_of_raykd_at_the_step_that_needs_it(tmp_path: Path) -> None:
    prepared = write_set(tmp_path / "set")
    write_side(tmp_path / "side", prepared)
    for part in (tmp_path / "side").glob("*.parquet"):
        part.write_bytes(b"not Parquet" * 100)
    feed = ray_feed(ReadRequest(prepared.path, (str(tmp_path / "side"),), **arguments(stop_step=3)))
    with feed, pytest.raises(DataError, match=r"\.parquet is damaged \(") as caught:
        next(feed)
    assert type(caught.value) is DataError
    assert "Traceback" not in str(caught.value)


def reading_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "raykd-feed"]


def wait_for(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.05)
    return condition()


def test_a_feed_closed_before_its_first_row_stops_reading(folders: tuple[str, tuple[str, ...]]) -> None:
    feed = ray_feed(ReadRequest(*folders, **arguments(stop_step=10**7)))
    feed.close()
    assert list(feed) == []
    assert wait_for(lambda: not reading_threads())


def test_rows_are_read_ahead_before_the_first_is_asked_for(
    folders: tuple[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    put = threading.Event()
    inner = ray_stream.BackgroundReader._put

    def told(self: ray_stream.BackgroundReader, item: Any) -> bool:
        if isinstance(item, pa.Table):
            put.set()
        return inner(self, item)

    monkeypatch.setattr(ray_stream.BackgroundReader, "_put", told)
    with ray_feed(ReadRequest(*folders, **arguments())):
        assert put.wait(60)


def test_a_consumer_that_waits_neither_fills_memory_nor_spins_the_control_loop(
    folders: tuple[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loop turns about 1,800 times a second when it is not held back, and five times when it is."""
    monkeypatch.setattr(ray_stream, "BLOCK_BYTES", 200_000)
    monkeypatch.setattr(ray_stream, "READ_AHEAD_BYTES", 2_000_000)
    turns: list[int] = []
    inner = ray_stream.LoopPacer.on_execution_step

    def counted(self: ray_stream.LoopPacer, executor: Any) -> None:
        turns.append(1)
        inner(self, executor)

    monkeypatch.setattr(ray_stream.LoopPacer, "on_execution_step", counted)
    span = arguments(stop_step=20 * STEPS)
    feed: Feed
    with ray_feed(ReadRequest(*folders, **span)) as feed:
        expected = local_feed(ReadRequest(*folders, **span))
        assert next(feed).table.equals(next(expected).table)

        def held_back() -> bool:
            before = len(turns)
            time.sleep(2)
            return 1 <= len(turns) - before < 40

        assert wait_for(held_back), "not before it has read ahead"
        for _ in range(2 * STEPS):
            assert next(feed).table.equals(next(expected).table)


def test_a_training_may_take_longer_over_its_rows_than_ray_waits_for_progress(
    folders: tuple[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray.data import DataContext

    monkeypatch.setattr(DataContext.get_current(), "execution_no_progress_timeout_s", 1)  # 30 minutes, if nobody says otherwise
    monkeypatch.setattr(ray_stream, "BLOCK_BYTES", 100_000)
    monkeypatch.setattr(ray_stream, "READ_AHEAD_BYTES", 400_000)  # the reading stands still until rows are taken
    span = arguments(stop_step=STEPS // 3)
    with ray_feed(ReadRequest(*folders, **span)) as feed:
        expected = local_feed(ReadRequest(*folders, **span))
        assert next(feed).table.equals(next(expected).table)
        time.sleep(3)  # three times the limit
        assert_same(feed, expected)
