"""One function over many items: as a Ray Data job, or in this process where that takes less time than starting one."""

import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from raykd.errors import RaykdError

T = TypeVar("T")
R = TypeVar("R")


def run_job(function: Callable[[T], R], items: Sequence[T], *, in_process: bool) -> Iterator[tuple[int, R]]:
    """Yield (position of the item, result) as results come, in any order.

    A job starts fresh processes, which costs seconds: pass ``in_process=True`` for less work than that. Without Ray
    everything runs in this process. A task whose worker dies runs again, so ``function`` may run twice on an item.
    Raises the RaykdError that ``function`` raises.
    """
    if in_process or not _ray_is_up():
        yield from enumerate(map(function, items))
    else:
        yield from _ray_job(function, items)


def _ray_is_up() -> bool:
    ray = sys.modules.get("ray")  # importing it takes a second, and who started it has imported it
    return ray is not None and bool(ray.is_initialized())


def _ray_job(function: Callable[[T], R], items: Sequence[T]) -> Iterator[tuple[int, R]]:
    import ray.data

    rows = [{"position": position, "item": pickle.dumps(item)} for position, item in enumerate(items)]
    tasks = ray.data.from_items(rows, override_num_blocks=len(rows))
    results = tasks.map_batches(_apply, fn_args=(function,), batch_size=None, batch_format="pyarrow", zero_copy_batch=True)
    for batch in results.iter_batches(batch_size=None, batch_format="pyarrow"):
        for position, result in zip(batch["position"].to_pylist(), batch["result"].to_pylist(), strict=True):
            outcome = pickle.loads(result)
            if isinstance(outcome, RaykdError):
                raise outcome
            yield position, outcome


def _apply(batch: pa.Table, function: Callable[[Any], Any]) -> pa.Table:
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # a task has one CPU; threads of its own would take more
    return pa.table({"position": batch["position"], "result": [_outcome(function, item) for item in batch["item"].to_pylist()]})


def _outcome(function: Callable[[Any], Any], item: bytes) -> bytes:
    """The pickled result, or the RaykdError that stands for it: an exception would reach the driver wrapped in Ray's own."""
    try:
        return pickle.dumps(function(pickle.loads(item)))
    except RaykdError as error:
        return pickle.dumps(error)
