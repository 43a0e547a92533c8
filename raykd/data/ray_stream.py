"""Planned rows through one execution of Ray Data that runs beside a training loop and costs it next to nothing."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pyarrow as pa

from raykd.data.batch_plan import slice_bounds
from raykd.data.planned_reader import Order, read_pools
from raykd.data.watchdog import Turns
from raykd.errors import RaykdError, ResourceError

BLOCK_BYTES = 4 << 20
"""Bytes at which a reading task hands over what it has: some windows, so that the first rows arrive early."""

READ_AHEAD_BYTES = 128 << 20
"""Bytes of the object store that rows not yet asked for may take."""

TURN_SECONDS = 0.2
"""Shortest turn of Ray Data's control loop in a process that trains, once the first rows are there."""

ROWS_LIMIT_S = 600.0
"""Seconds that a training waits for its next rows: reading them takes seconds, starting the process that reads some more."""

MAX_TASKS = 256
"""Reading tasks of one execution at most; each is an object in memory before the first row is read."""


def stream(order: Order, pools: range, *, cpus: float) -> Generator[pa.Table, None, None]:
    """Blocks of the pools' rows, in order. Closing the generator ends the execution."""
    import ray
    from ray.data import ExecutionResources, TaskPoolStrategy

    tasks = min(len(pools), MAX_TASKS)
    bounds = [slice_bounds(len(pools), i, tasks) for i in range(tasks)]
    items = [{"start": pools.start + start, "stop": pools.start + stop} for start, stop in bounds]
    data = ray.data.from_items(items, override_num_blocks=tasks).map_batches(
        read_pools,
        batch_size=None,
        batch_format="pyarrow",
        fn_kwargs={"order": order},
        num_cpus=cpus,
        compute=TaskPoolStrategy(size=1),
        label_selector={"ray.io/node-id": ray.get_runtime_context().get_node_id()},
    )
    context = data.context
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    context.target_max_block_size = BLOCK_BYTES
    context.execution_options.preserve_order = True
    context.execution_options.resource_limits = ExecutionResources.for_limits(object_store_memory=READ_AHEAD_BYTES)
    context.custom_execution_callback_classes = [Pace]
    context.execution_no_progress_timeout_s = -1  # Ray's 30 minutes would end a training that takes as long over what it has
    yield from data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)


class Pace(Turns):
    """Slows Ray Data's control loop down, in the callback that it makes at each turn.

    While a task has a block that may not be taken yet, the loop turns without a pause (Ray 2.60: 1,800 times a second, a
    whole core, in the process that trains). The first turns stay quick, for the sake of the first rows.
    """

    def __init__(self) -> None:
        self._turns = 0
        self._next = 0.0

    def on_execution_step(self, executor: Any) -> None:  # noqa: ARG002
        """Wait for the rest of the turn."""
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._turns += 1
        self._next = time.monotonic() + min(TURN_SECONDS, 0.002 * self._turns)


class Background(Iterator[pa.Table]):
    """Runs a generator in a thread that starts at once and keeps one table ready; what it raises is raised here."""

    def __init__(self, make: Callable[[], Generator[pa.Table, None, None]]) -> None:
        self._ready: queue.Queue[pa.Table | BaseException | None] = queue.Queue(maxsize=1)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(make,), name="raykd-feed", daemon=True)
        self._thread.start()

    def __next__(self) -> pa.Table:
        try:
            item = self._ready.get(timeout=ROWS_LIMIT_S)
        except queue.Empty:
            raise ResourceError(
                f"waited {ROWS_LIMIT_S:g} s for the next rows from Ray Data, whose reading task did not start or end; see that "
                "this node has memory for one more process and that its storage answers. The same command continues"
            ) from None
        if isinstance(item, pa.Table):
            return item
        if item is None:
            raise StopIteration
        raise raykd_error(item) or item

    def close(self) -> None:
        """Tell the thread to stop; it does so at the latest when the table that it waits for has come."""
        self._closed.set()
        self._thread.join(timeout=2)

    def _run(self, make: Callable[[], Generator[pa.Table, None, None]]) -> None:
        end: BaseException | None = None
        tables = make()
        try:
            for table in tables:
                if not self._put(table):
                    break
        except BaseException as error:  # carried over to the thread that asks for tables
            end = error
        finally:
            tables.close()
        self._put(end)

    def _put(self, item: pa.Table | BaseException | None) -> bool:
        while not self._closed.is_set():
            try:
                self._ready.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def raykd_error(error: BaseException | None) -> RaykdError | None:
    """The RaykdError that a task raised, out of the exceptions that Ray wraps around it; None for any other error."""
    while error is not None:
        # Ray makes classes that inherit from the cause's class: those are wrapping too
        if isinstance(error, RaykdError) and type(error).__module__ == RaykdError.__module__:
            return error
        cause = getattr(error, "cause", None)
        error = cause if isinstance(cause, BaseException) else error.__cause__
    return None
