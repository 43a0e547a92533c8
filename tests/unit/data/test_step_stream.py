import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from raykd.data import epoch_steps, ray_stream
from raykd.data.batch_plan import BatchPlan, slice_bounds
from raykd.data.planned_reader import STEP_COLUMNS, PlannedReader, ReadRequest
from raykd.data.ray_stream import BackgroundReader, raykd_error
from raykd.data.side_tables import SideTable
from raykd.data.step_stream import StepRows, _steps, local_feed
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError, ResourceError
from tests.planned_set import GROUPS, lengths_of, logits_of, tokens_of, write_set, write_side

BATCH, WINDOW = 16, 8
ROWS = sum(GROUPS)
STEPS = -(-ROWS // BATCH)


@pytest.fixture(autouse=True)
def _small_pools(monkeypatch: pytest.MonkeyPatch) -> None:
    """Several pools an epoch, as larger data has."""
    monkeypatch.setattr(epoch_steps, "POOL_ROWS", 600)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, tuple[str, ...]]:
    folder = tmp_path_factory.mktemp("feed")
    prepared = write_set(folder / "set")
    write_side(folder / "side", prepared)
    return str(folder / "set"), (str(folder / "side"),)


def read(folders: tuple[str, tuple[str, ...]], start: int = 0, stop: int = STEPS, **changes: Any) -> list[StepRows]:
    arguments = {"seed": 3, "batch_size": BATCH, "window": WINDOW, "rank": 0, "world": 1} | changes
    return list(local_feed(ReadRequest(*folders, **arguments, start_step=start, stop_step=stop)))


def row_numbers(rows: StepRows) -> list[int]:
    return [int(row) for row in rows.table["row"].to_pylist()]


def test_rows_come_in_planned_order_with_their_own_values(folders: tuple[str, tuple[str, ...]]) -> None:
    prepared = TokenisedSet.open(folders[0])
    plan = BatchPlan(
        prepared.group_rows, prepared.lengths, seed=3, batch_size=BATCH, window=WINDOW, fingerprint=prepared.fingerprint
    )
    firsts = np.concatenate([[0], np.cumsum(GROUPS)])
    stop = 2 * STEPS + 5
    for rows, batch in zip(read(folders, 0, stop), plan.batches(0, stop), strict=True):
        assert (rows.step, rows.epoch, rows.num_rows) == (batch.step, batch.epoch, batch.num_rows)
        assert rows.longest == batch.longest
        expected = firsts[batch.groups] + batch.offsets
        assert row_numbers(rows) == expected.tolist()
        assert rows.table["length"].to_pylist() == lengths_of(expected).tolist()
        assert rows.table["input_ids"].to_pylist() == [tokens_of(row) for row in expected]
        assert rows.table["logits"].to_pylist() == logits_of(expected).tolist()
        assert rows.table.column_names == ["shard", "row", "length", "input_ids", "token_type_ids", "label", "logits"]


@pytest.mark.parametrize("world", [2, 3, 24])
def test_ranks_share_each_batch(folders: tuple[str, tuple[str, ...]], world: int) -> None:
    alone = read(folders)
    ranks = [read(folders, rank=rank, world=world) for rank in range(world)]
    for step, whole in enumerate(alone):
        mine = [rank[step] for rank in ranks]
        assert [row for rows in mine for row in row_numbers(rows)] == row_numbers(whole)
        assert {(rows.step, rows.num_rows, rows.longest) for rows in mine} == {(step, whole.num_rows, whole.longest)}
        sizes = [slice_bounds(whole.num_rows, rank, world) for rank in range(world)]
        assert [rows.table.num_rows for rows in mine] == [stop - start for start, stop in sizes]
        assert {rows.table.schema for rows in mine} == {whole.table.schema}, "an empty slice has the columns too"


def test_an_epoch_has_every_row_once(folders: tuple[str, tuple[str, ...]]) -> None:
    assert Counter(row for rows in read(folders, STEPS, 2 * STEPS) for row in row_numbers(rows)) == Counter(range(ROWS))


@pytest.mark.parametrize("start", [1, WINDOW, STEPS - 1, STEPS + 41])
def test_resuming_gives_the_tail(folders: tuple[str, tuple[str, ...]], start: int) -> None:
    whole, tail = read(folders, 0, STEPS + 50), read(folders, start, STEPS + 50)
    assert [(rows.step, rows.epoch, row_numbers(rows)) for rows in tail] == [
        (rows.step, rows.epoch, row_numbers(rows)) for rows in whole[start:]
    ]


def test_no_steps_give_nothing(folders: tuple[str, tuple[str, ...]]) -> None:
    assert read(folders, 7, 7) == []


def test_each_pool_reads_each_row_group_once(folders: tuple[str, tuple[str, ...]], monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, int]] = []
    for table in (TokenisedSet, SideTable):

        def counted(self: Any, group: int, columns: Any = None, *, inner: Any = table.read_group) -> pa.Table:
            calls.append((type(self).__name__, group))
            return inner(self, group, columns)

        monkeypatch.setattr(table, "read_group", counted)
    reader = PlannedReader(
        ReadRequest(
            folders[0], folders[1], seed=3, batch_size=BATCH, window=WINDOW, rank=0, world=1, start_step=0, stop_step=STEPS
        )
    )
    for pool in reader.pools():
        calls.clear()
        assert sum(table.num_rows for table in reader.read(pool)) > 0
        assert max(Counter(calls).values()) == 1
        assert len(reader._groups) == len(calls) // 2, "row groups of earlier pools are not kept"


def test_a_side_table_of_other_rows_is_refused_at_once(tmp_path: Path) -> None:
    other = write_set(tmp_path / "set")
    side = write_side(tmp_path / "side", other)
    replace(other, rows_fingerprint="elsewhere").save()
    arguments = {"seed": 1, "batch_size": 4, "rank": 0, "world": 1, "start_step": 0, "stop_step": 1}
    with pytest.raises(DataError, match="made for other rows"):
        local_feed(ReadRequest(other.path, (side.path,), **arguments))


def test_a_side_table_with_rows_of_other_names_is_refused(tmp_path: Path) -> None:
    prepared = write_set(tmp_path / "set")
    write_side(tmp_path / "side", prepared, shift=1)
    with pytest.raises(DataError, match="not those it is joined to"):
        read((prepared.path, (str(tmp_path / "side"),)))


def tables_of(folders: tuple[str, tuple[str, ...]], request: ReadRequest) -> tuple[BatchPlan, list[pa.Table]]:
    reader = PlannedReader(request)
    return reader.plan, [table for pool in reader.pools() for table in reader.read(pool)]


@pytest.mark.parametrize("change", ["order", "missing", "other slice", "shifted"])
def test_rows_that_are_not_the_planned_ones_are_noticed(folders: tuple[str, tuple[str, ...]], change: str) -> None:
    request = ReadRequest(
        folders[0], (), seed=3, batch_size=BATCH, window=WINDOW, rank=0, world=1, start_step=0, stop_step=STEPS
    )
    plan, tables = tables_of(folders, request)
    changed = {
        "order": [tables[1], tables[0], *tables[2:]],
        "missing": [*tables[:2], *tables[3:]],
        "other slice": tables_of(
            folders,
            ReadRequest(
                folders[0], (), seed=3, batch_size=BATCH, window=WINDOW, rank=0, world=2, start_step=0, stop_step=STEPS
            ),
        )[1],
        "shifted": [tables[0].slice(1), *tables[1:]],
    }[change]
    with pytest.raises(DataError, match="were planned"):
        list(_steps(request, plan, iter(changed)))


def test_rows_that_end_early_are_noticed(folders: tuple[str, tuple[str, ...]]) -> None:
    request = ReadRequest(
        folders[0], (), seed=3, batch_size=BATCH, window=WINDOW, rank=0, world=1, start_step=0, stop_step=STEPS
    )
    plan, tables = tables_of(folders, request)
    with pytest.raises(DataError, match=f"ended before step {STEPS - 1} of {STEPS}"):
        list(_steps(request, plan, iter([*tables[:-1], tables[-1].slice(0, tables[-1].num_rows - 1)])))


@pytest.mark.parametrize("rows", [1, 7, 10_000])
def test_how_tables_are_cut_on_the_way_does_not_matter(folders: tuple[str, tuple[str, ...]], rows: int) -> None:
    request = ReadRequest(folders[0], (), seed=3, batch_size=BATCH, window=WINDOW, rank=1, world=2, start_step=5, stop_step=30)
    plan, tables = tables_of(folders, request)
    assert set(STEP_COLUMNS) < set(tables[0].column_names)
    whole = pa.concat_tables(tables)
    cut = [whole.slice(start, rows) for start in range(0, whole.num_rows, rows)]
    assert [row_numbers(step) for step in _steps(request, plan, iter(cut))] == [
        row_numbers(step) for step in _steps(request, plan, iter(tables))
    ]


def test_a_closed_feed_ends(folders: tuple[str, tuple[str, ...]]) -> None:
    with local_feed(ReadRequest(*folders, seed=1, batch_size=4, rank=0, world=1, start_step=0, stop_step=100)) as feed:
        next(feed)
    assert list(feed) == []
    feed.close()


class Numbers:
    """A generator of one-row tables that tells what it did."""

    def __init__(self, count: int, error: BaseException | None = None) -> None:
        self.count, self.error = count, error
        self.made = 0
        self.started, self.ended = threading.Event(), threading.Event()

    def __call__(self) -> Iterator[pa.Table]:
        self.started.set()
        try:
            for number in range(self.count):
                self.made += 1
                yield pa.table({"n": [number]})
            if self.error:
                raise self.error
        finally:
            self.ended.set()


def test_background_starts_by_itself_and_stays_one_table_ahead() -> None:
    numbers = Numbers(50)
    tables = BackgroundReader(numbers)  # type: ignore[arg-type]  # numbers stand for tables
    assert numbers.started.wait(10)
    assert [next(tables)["n"][0].as_py() for _ in range(3)] == [0, 1, 2]
    assert numbers.made <= 6
    assert [table["n"][0].as_py() for table in tables] == list(range(3, 50))


def test_background_raises_what_the_generator_raised_after_what_it_yielded() -> None:
    tables = BackgroundReader(Numbers(2, OSError("disk")))  # type: ignore[arg-type]  # numbers stand for tables
    assert [next(tables)["n"][0].as_py() for _ in range(2)] == [0, 1]
    with pytest.raises(OSError, match="disk"):
        next(tables)


def test_closing_background_ends_the_generator() -> None:
    numbers = Numbers(10**9)
    tables = BackgroundReader(numbers)  # type: ignore[arg-type]  # numbers stand for tables
    next(tables)
    tables.close()
    assert numbers.ended.wait(10)
    assert numbers.made < 10


def test_raykds_own_error_is_found_under_what_wraps_it() -> None:
    inner = DataError("part is damaged")
    outer = RuntimeError("task failed")
    outer.__cause__ = ValueError("wrapped")
    outer.__cause__.__cause__ = inner
    assert raykd_error(outer) is inner
    assert raykd_error(inner) is inner
    assert raykd_error(RuntimeError("x")) is None


def test_a_reading_process_imports_neither_torch_nor_transformers() -> None:
    code = "import sys, raykd.data.step_stream; print(sorted({'torch', 'transformers', 'ray', 'pandas'} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_rows_that_never_come_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_stream, "ROWS_TIMEOUT_S", 0.05)
    over = threading.Event()

    def make() -> Generator[pa.Table, None, None]:
        over.wait(30)
        yield pa.table({"x": [1]})

    tables = BackgroundReader(make)
    with pytest.raises(ResourceError, match=r"waited 0\.05 s for the next rows from Ray Data"):
        next(tables)
    over.set()
    tables.close()
