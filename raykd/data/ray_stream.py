"""Planned rows through one execution of Ray Data, which runs in the background of a training loop at little cost."""

import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pyarrow as pa

from raykd.data.batch_plan import slice_bounds
from raykd.data.planned_reader import ReadRequest, read_pools
from raykd.data.watchdog import LoopCallback
from raykd.errors import RaykdError, ResourceError

BLOCK_BYTES = 4 << 20
"""Size in bytes of the blocks that a reading task yields: a few windows, so that the first rows arrive early."""

READ_AHEAD_BYTES = 128 << 20
"""Bytes of the object store for rows that are read ahead."""

MIN_ITERATION_S = 0.2
"""Shortest iteration of Ray Data's control loop in a training process, once the first rows have arrived."""

ROWS_TIMEOUT_S = 600.0
"""Seconds that a training waits for its next rows; reading them, and starting the process that reads, takes seconds."""

MAX_TASKS = 256
"""Reading tasks of one execution at most; each is an object in memory before the first row is read."""


def stream(request: ReadRequest, pools: range, *, cpus: float) -> Generator[pa.Table, None, None]:
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
        fn_kwargs={"request": request},
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
    context.custom_execution_callback_classes = [LoopPacer]
    context.execution_no_progress_timeout_s = -1  # Ray's 30 minutes would end a training that consumes its rows slowly
    yield from data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=1)


class LoopPacer(LoopCallback):
    """Slows Ray Data's control loop down, in the callback of each iteration.

    While a task's output is held back by backpressure, the loop runs without a pause (Ray 2.60: 1,800 iterations a second, a
    whole core of the training process). The first iterations stay fast, so that the first rows arrive early.
    """

    def __init__(self) -> None:
        self._iterations = 0
        self._next = 0.0

    def on_execution_step(self, executor: Any) -> None:  # noqa: ARG002
        """Sleep for the rest of the iteration."""
        time.sleep(max(0.0, self._next - time.monotonic()))
        self._iterations += 1
        self._next = time.monotonic() + min(MIN_ITERATION_S, 0.002 * self._iterations)


class BackgroundReader(Iterator[pa.Table]):
    """Iterates over a generator in a thread that starts at once and keeps one table ready; its errors are raised here."""

    def __init__(self, make: Callable[[], Generator[pa.Table, None, None]]) -> None:
        self._ready: queue.Queue[pa.Table | BaseException | None] = queue.Queue(maxsize=1)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(make,), name="raykd-feed", daemon=True)
        self._thread.start()

    def __next__(self) -> pa.Table:
        try:
            item = self._ready.get(timeout=ROWS_TIMEOUT_S)
        except queue.Empty:
            raise ResourceError(
                f"waited {ROWS_TIMEOUT_S:g} s for the next rows from Ray Data, whose reading task did not start or end; check "
                "that this node has memory for one more process and that its storage answers. The same command continues"
            ) from None
        if isinstance(item, pa.Table):
            return item
        if item is None:
            raise StopIteration
        raise raykd_error(item) or item

    def close(self) -> None:
        """Stop the thread, at the latest when the table that it waits for has arrived."""
        self._closed.set()
        self._thread.join(timeout=2)

    def _run(self, make: Callable[[], Generator[pa.Table, None, None]]) -> None:
        end: BaseException | None = None
        tables = make()
        try:
            for table in tables:
                if not self._put(table):
                    break
        except BaseException as error:  # raised in the consuming thread
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
        # Ray derives wrapper classes from the cause's class: the module distinguishes them
        if isinstance(error, RaykdError) and type(error).__module__ == RaykdError.__module__:
            return error
        cause = getattr(error, "cause", None)
        error = cause if isinstance(cause, BaseException) else error.__cause__
    return None
