"""Feeds of planned rows for a training loop: in order, joined with side tables, this rank's slice only.

One execution of Ray Data serves a whole training task, from any step to any other, over all epochs between; it starts when
the feed is built. :func:`local_feed` reads the same rows without Ray.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Self

import pyarrow as pa

from raykd.data.planned_reader import STEP_COLUMNS, Plan, PlannedReader, ReadRequest
from raykd.data.ray_stream import BackgroundReader, stream
from raykd.errors import DataError


@dataclass(frozen=True, eq=False)
class StepRows:
    """One rank's rows of one step's global batch."""

    step: int
    epoch: int
    num_rows: int
    """Rows of the global batch, over all ranks."""
    longest: int
    """Longest row of the global batch in tokens."""
    table: pa.Table
    """This rank's rows in planned order, side tables joined; may be empty."""

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
        """Stop reading ahead and end the iteration. Idempotent."""
        self._steps = iter(())
        self._close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def ray_feed(request: ReadRequest, *, cpus: float = 0.0) -> Feed:
    """The requested rows, through Ray Data.

    One process reads at a time, on this node, and reserves `cpus`: 0 by default, because it works for a fraction of a second in
    every few thousand steps, and a reservation would never be granted where training workers hold every CPU.
    Raises DataError when a table is absent, damaged, or made for other rows: here, or at the step that needs it.
    """
    reader = PlannedReader(request)
    pools = reader.pools()
    if not pools:
        return Feed(iter(()), lambda: None)
    tables = BackgroundReader(lambda: stream(request, pools, cpus=cpus))
    return Feed(_steps(request, reader.plan, tables), tables.close)


def local_feed(request: ReadRequest) -> Feed:
    """The rows of :func:`ray_feed`, read in this process on demand."""
    reader = PlannedReader(request)
    tables = (table for pool in reader.pools() for table in reader.read(pool))
    return Feed(_steps(request, reader.plan, tables), tables.close)


def _steps(request: ReadRequest, plan: Plan, tables: Iterator[pa.Table]) -> Iterator[StepRows]:
    """Cut tables at the steps of the plan. Raises DataError when rows are missing or not those of the plan."""
    pending: pa.Table | None = None
    for step in range(request.start_step, request.stop_step):
        start, stop = request.slice_of(plan.num_rows(step))
        needed = max(stop - start, 1)  # a row of another rank is the placeholder of an empty slice
        while pending is None or pending.num_rows < needed:
            table = next(tables, None)
            if table is None:
                raise DataError(f"rows of {request.prepared} ended before step {step} of {request.stop_step}; prepare it again")
            pending = pa.concat_tables([pending, table]) if pending is not None and pending.num_rows else table
        head, pending = pending.slice(0, needed), pending.slice(needed)
        steps, longest, sizes = (head[name].to_numpy() for name in STEP_COLUMNS)
        if (steps != step).any() or (sizes != stop - start).any():
            raise DataError(
                f"{request.prepared}: got rows of steps {sorted(set(steps.tolist()))} where {stop - start} rows of step "
                f"{step} were planned; it was changed while it was read"
            )
        yield StepRows(
            step=step,
            epoch=plan.epoch_of(step),
            num_rows=plan.num_rows(step),
            longest=int(longest[0]),
            table=head.drop_columns(list(STEP_COLUMNS)).slice(0, stop - start),
        )
