"""Apply a function to many items: as a Ray Data job, or in this process where that takes less time than starting one."""

import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from raykd.data.watchdog import Heartbeat, JobWatchdog
from raykd.errors import RaykdError

T = TypeVar("T")
R = TypeVar("R")


def run_job(function: Callable[[T], R], items: Sequence[T], *, in_process: bool, to: str) -> Iterator[tuple[int, R]]:
    """Yield (position of the item, result) in order of completion. ``to`` is the purpose in error messages (``count rows``).

    A job starts new processes, which takes seconds: pass ``in_process=True`` for less work than that. Without Ray
    everything runs in this process. A task whose worker dies runs again, so ``function`` may run twice on an item.
    Raises the RaykdError that ``function`` raises, ResourceError when no CPU comes free
    (:func:`raykd.data.watchdog.limit_waits`).
    """
    if in_process or not _ray_is_up():
        yield from enumerate(map(function, items))
    else:
        yield from _ray_job(function, items, to)


def run_actors(
    build: Callable[[], Callable[[T], R]],
    items: Sequence[T],
    *,
    actors: int,
    cpus: int,
    use_gpu: bool,
    to: str,
) -> Iterator[tuple[int, R]]:
    """:func:`run_job` on at most ``actors`` processes of ``cpus`` CPUs, each of which builds the function once; needs Ray."""
    from ray.data import ActorPoolStrategy

    pool = ActorPoolStrategy(size=min(actors, len(items)), max_tasks_in_flight_per_actor=2)
    watchdog = JobWatchdog()
    data = dataset_of(items).map_batches(
        _Actor,
        fn_constructor_args=(build, watchdog.heartbeat),
        compute=pool,
        num_cpus=cpus,
        num_gpus=1 if use_gpu else None,
        **WHOLE_BLOCKS,
    )
    size = f"{cpus} CPU{'s' * (cpus > 1)}{' and a GPU' if use_gpu else ''}"
    yield from results_of(data, watchdog, f"an actor of {size} to {to}")


def _ray_is_up() -> bool:
    ray = sys.modules.get("ray")  # importing it takes a second; a process that has started it has imported it
    return ray is not None and bool(ray.is_initialized())


def _ray_job(function: Callable[[T], R], items: Sequence[T], to: str) -> Iterator[tuple[int, R]]:
    watchdog = JobWatchdog()
    data = dataset_of(items).map_batches(_apply, fn_args=(function, watchdog.heartbeat), **WHOLE_BLOCKS)
    yield from results_of(data, watchdog, f"a CPU to {to}")


WHOLE_BLOCKS = {"batch_size": None, "batch_format": "pyarrow", "zero_copy_batch": True}


def dataset_of(items: Sequence[Any]) -> Any:
    """A dataset with one block per item."""
    import ray.data

    rows = [{"position": position, "item": pickle.dumps(item)} for position, item in enumerate(items)]
    return ray.data.from_items(rows, override_num_blocks=len(rows))


def results_of(data: Any, watchdog: JobWatchdog, what: str) -> Iterator[tuple[int, Any]]:
    """Execute a dataset whose rows are positions and pickled results, and yield them; ``what`` it waits for, in errors.

    Raises a RaykdError that is a result, ResourceError when the execution does not begin.
    """
    with watchdog.watching(data, what):
        # with prefetching, a batch would be returned only once the next one is ready
        for batch in data.iter_batches(batch_size=None, batch_format="pyarrow", prefetch_batches=0):
            watchdog.note_progress()
            for position, result in zip(batch["position"].to_pylist(), batch["result"].to_pylist(), strict=True):
                outcome = pickle.loads(result)
                if isinstance(outcome, RaykdError):
                    raise outcome
                yield position, outcome


class _Actor:
    """Actor that builds its function once and applies it to every block."""

    def __init__(self, build: Callable[[], Callable[[Any], Any]], heartbeat: Heartbeat) -> None:
        self._heartbeat = heartbeat
        with heartbeat.running():
            self._function = build()

    def __call__(self, batch: pa.Table) -> pa.Table:
        return _apply(batch, self._function, self._heartbeat)


def _apply(batch: pa.Table, function: Callable[[Any], Any], heartbeat: Heartbeat) -> pa.Table:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # tokenizer threads would use more than the task's CPUs
    with heartbeat.running():
        results = [pickled_outcome(function, item) for item in batch["item"].to_pylist()]
    return pa.table({"position": batch["position"], "result": results})


def pickled_outcome(function: Callable[[Any], Any], item: bytes) -> bytes:
    """The pickled result, or the pickled RaykdError: a raised one would reach the driver wrapped in Ray's exceptions."""
    try:
        return pickle.dumps(function(pickle.loads(item)))
    except RaykdError as error:
        return pickle.dumps(error)
