"""Planned rows on their way to a training loop: in order, joined with side tables, this rank's slice only.

One execution of Ray Data serves a whole training task, from any step to any other, over all epochs between; it starts when
the feed is built. The same rows come without Ray from :func:`local_feed`.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import pyarrow as pa

from raykd.data.batch_plan import Plan
from raykd.data.folds import Fold
from raykd.data.planned_reader import CARRIED, Order, PlannedReader
from raykd.data.ray_stream import Background, stream
from raykd.errors import DataError


@dataclass(frozen=True, eq=False)
class StepRows:
    """One rank's rows of one step's global batch."""

    step: int
    epoch: int
    num_rows: int
    """Rows of the global batch, over all ranks."""
    padded_length: int
    """Tokens that every row of the global batch is padded to."""
    table: pa.Table
    """This rank's rows in planned order, side tables joined; may have none."""

    def with_table(self, table: pa.Table) -> "StepRows":
        """The same step with other columns of the rows."""
        return replace(self, table=table)


class Feed(Iterator[StepRows]):
    """The steps of one rank, in order. Close it, or use it as a context manager, to stop reading before the last step."""

    def __init__(self, steps: Iterator[StepRows], close: Callable[[], None]) -> None:
        self._steps = steps
        self._close = close

    def __next__(self) -> StepRows:
        return next(self._steps)

    def close(self) -> None:
        """Stop reading ahead; no further steps come. Harmless when done twice."""
        self._steps = iter(())
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def ray_feed(
    prepared: str,
    side_tables: Mapping[str, str],
    *,
    seed: int,
    batch_size: int,
    window: int = 64,
    rank: int,
    world: int,
    start_step: int,
    stop_step: int,
    without: Fold | None = None,
    cpus: float = 0.0,
) -> Feed:
    """One rank's rows of the steps from `start_step` to `stop_step` (not included), through Ray Data.

    `side_tables` are folders of side tables, by a name of the caller's; their columns are joined to the tokens. Rows of the
    fold `without` are left out. One process
    reads at a time, on this node. `cpus` is what it reserves: nothing by default, because it works for a fraction of a
    second in every few thousand steps, and a reservation would wait for ever where training workers hold every CPU. Raises
    DataError when a table is absent, damaged, or made for other rows: here, or at the step that needs it.
    """
    order = Order(prepared, tuple(side_tables.values()), seed, batch_size, window, rank, world, start_step, stop_step, without)
    reader = PlannedReader(order)
    pools = reader.pools()
    if not pools:
        return Feed(iter(()), lambda: None)
    tables = Background(lambda: stream(order, pools, cpus=cpus))
    return Feed(_steps(order, reader.plan, tables), tables.close)


def local_feed(
    prepared: str,
    side_tables: Mapping[str, str],
    *,
    seed: int,
    batch_size: int,
    window: int = 64,
    rank: int,
    world: int,
    start_step: int,
    stop_step: int,
    without: Fold | None = None,
) -> Feed:
    """The rows of :func:`ray_feed`, read in this process when they are asked for."""
    order = Order(prepared, tuple(side_tables.values()), seed, batch_size, window, rank, world, start_step, stop_step, without)
    reader = PlannedReader(order)
    tables = (table for pool in reader.pools() for table in reader.read(pool))
    return Feed(_steps(order, reader.plan, tables), tables.close)


def _steps(order: Order, plan: Plan, tables: Iterator[pa.Table]) -> Iterator[StepRows]:
    """Cut tables at the steps of the plan. Raises DataError when rows are missing or not those of the plan."""
    pending: pa.Table | None = None
    for step in range(order.start_step, order.stop_step):
        start, stop = order.slice_of(plan.num_rows(step))
        needed = max(stop - start, 1)  # a row of another rank stands in for none
        while pending is None or pending.num_rows < needed:
            table = next(tables, None)
            if table is None:
                raise DataError(f"rows of {order.prepared} ended before step {step} of {order.stop_step}; prepare it again")
            pending = pa.concat_tables([pending, table]) if pending is not None and pending.num_rows else table
        head, pending = pending.slice(0, needed), pending.slice(needed)
        steps, lengths, sizes = (head[name].to_numpy() for name in CARRIED)
        if (steps != step).any() or (sizes != stop - start).any():
            raise DataError(
                f"{order.prepared}: rows of steps {sorted(set(steps.tolist()))} came where {stop - start} rows of step {step} "
                "were planned; it was changed while it was read"
            )
        yield StepRows(
            step=step,
            epoch=plan.epoch_of(step),
            num_rows=plan.num_rows(step),
            padded_length=int(lengths[0]),
            table=head.drop_columns(list(CARRIED)).slice(0, stop - start),
        )
