"""Apply a function to many items: as a Ray Data job, or in this process where that takes less time than starting one."""

import os
import pickle
import sys
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import pyarrow as pa

from raykd.data.watchdog import Heartbeat, JobWatchdog
from raykd.errors import RaykdError, ResourceError

T = TypeVar("T")
R = TypeVar("R")

RESTARTS = 3
"""Times that a kept actor is started again after its process was lost; its items are repeated."""
LOST = (
    f"a process that scores rows was lost {RESTARTS + 1} times; see that this machine has memory for it. "
    "The same command continues"
)


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
    kept: "KeptActors | None" = None,
) -> Iterator[tuple[int, R]]:
    """:func:`run_job` on at most ``actors`` processes of ``cpus`` CPUs, each of which builds the function once; needs Ray.

    ``kept`` are actors that do the work in place of new ones, and stay. Raises ResourceError when they were lost too often.
    """
    from ray.data import ActorPoolStrategy

    if kept is not None:
        yield from kept.run(build, items, cpus=cpus, to=to)
        return
    pool = ActorPoolStrategy(size=min(actors, len(items)), max_tasks_in_flight_per_actor=2)
    watchdog = JobWatchdog()
    data = _dataset(items).map_batches(
        _Actor,
        fn_constructor_args=(build, watchdog.heartbeat),
        compute=pool,
        num_cpus=cpus,
        num_gpus=1 if use_gpu else None,
        **_WHOLE,
    )
    size = f"{cpus} CPU{'s' * (cpus > 1)}{' and a GPU' if use_gpu else ''}"
    yield from _results(data, watchdog, f"an actor of {size} to {to}")


class KeptActors:
    """Actors that live through several jobs, so that each process imports its libraries once. For a Ray of this machine alone.

    They reserve no CPUs, or they would take those of trainings between two jobs; the Ray Data tasks that hand them items do.
    """

    def __init__(self, count: int, *, preload: Callable[[], None] | None = None) -> None:
        """``preload`` is called by each actor when it starts."""
        self._count = count
        self._preload = preload
        self._actors: list[Any] = []

    def start(self) -> None:
        """Start the actors in the background, unless they are there."""
        if self._actors:
            return
        import ray

        kept = ray.remote(num_cpus=0, max_restarts=RESTARTS, max_task_retries=RESTARTS)(KeptActor)
        self._actors = [kept.remote(self._preload) for _ in range(self._count)]

    def run(self, build: Callable[[], Callable[[T], R]], items: Sequence[T], *, cpus: int, to: str) -> Iterator[tuple[int, R]]:
        """Yield (position of the item, result) in order of completion, as :func:`run_actors` does."""
        from ray.data import TaskPoolStrategy

        self.start()
        watchdog = JobWatchdog()
        data = _dataset(items).map_batches(
            _hand_over,
            fn_args=(self._actors, pickle.dumps(build), uuid.uuid4().hex, watchdog.heartbeat),
            compute=TaskPoolStrategy(size=min(self._count, len(items))),
            num_cpus=cpus,
            **_WHOLE,
        )
        try:
            yield from _results(data, watchdog, f"{cpus} CPU{'s' * (cpus > 1)} to {to}")
        except BaseException:
            self.close()  # what they still work on is wanted no more
            raise
        for actor in self._actors:
            actor.forget.remote()

    def close(self) -> None:
        """End the actors; a later job starts others."""
        import ray

        for actor in self._actors:
            ray.kill(actor)
        self._actors = []


class KeptActor:
    """Process of :class:`KeptActors`: builds the function of a job once, and keeps it until the next one."""

    def __init__(self, preload: Callable[[], None] | None) -> None:
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        if preload is not None:
            preload()
        self._job = ""
        self._function: Callable[[Any], Any] | None = None

    def apply(self, job: str, build: bytes, item: bytes, heartbeat: Heartbeat) -> bytes:
        """The pickled result of an item, or the pickled RaykdError."""
        with heartbeat.running():
            if self._function is None or job != self._job:
                self.forget()  # memory holds one model
                self._job, self._function = job, pickle.loads(build)()
            return _outcome(self._function, item)

    def process(self) -> int:
        """Number of the process."""
        return os.getpid()

    def forget(self) -> None:
        """Free what the last job has built."""
        self._function = None


def _hand_over(batch: pa.Table, actors: Sequence[Any], build: bytes, job: str, heartbeat: Heartbeat) -> pa.Table:
    """Results of a block of items, by one of the actors."""
    import ray

    pairs = zip(batch["position"].to_pylist(), batch["item"].to_pylist(), strict=True)
    waiting = [actors[position % len(actors)].apply.remote(job, build, item, heartbeat) for position, item in pairs]
    try:
        results = ray.get(waiting)
    except ray.exceptions.ActorDiedError:
        results = [pickle.dumps(ResourceError(LOST))] * len(waiting)
    return pa.table({"position": batch["position"], "result": pa.array(results, pa.binary())})


def _ray_is_up() -> bool:
    ray = sys.modules.get("ray")  # importing it takes a second; a process that has started it has imported it
    return ray is not None and bool(ray.is_initialized())


def _ray_job(function: Callable[[T], R], items: Sequence[T], to: str) -> Iterator[tuple[int, R]]:
    watchdog = JobWatchdog()
    data = _dataset(items).map_batches(_apply, fn_args=(function, watchdog.heartbeat), **_WHOLE)
    yield from _results(data, watchdog, f"a CPU to {to}")


_WHOLE = {"batch_size": None, "batch_format": "pyarrow", "zero_copy_batch": True}


def _dataset(items: Sequence[Any]) -> Any:
    """A dataset with one block per item."""
    import ray.data

    rows = [{"position": position, "item": pickle.dumps(item)} for position, item in enumerate(items)]
    return ray.data.from_items(rows, override_num_blocks=len(rows))


def _results(data: Any, watchdog: JobWatchdog, what: str) -> Iterator[tuple[int, Any]]:
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
        results = [_outcome(function, item) for item in batch["item"].to_pylist()]
    return pa.table({"position": batch["position"], "result": results})


def _outcome(function: Callable[[Any], Any], item: bytes) -> bytes:
    """The pickled result, or the pickled RaykdError: a raised one would reach the driver wrapped in Ray's exceptions."""
    try:
        return pickle.dumps(function(pickle.loads(item)))
    except RaykdError as error:
        return pickle.dumps(error)
