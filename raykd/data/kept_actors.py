"""Functions applied to many items by processes that live through several jobs. For a Ray of this machine alone.

An actor that is started for one job imports its libraries again: five processor seconds for PyTorch and transformers, beside a
training that waits for each of its threads. The processes take items from the tasks of a Ray Data job, as other actors do.
"""

import contextlib
import fcntl
import functools
import os
import pickle
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import IO, Any, TypeVar

import pyarrow as pa

from raykd.data.ray_map import WHOLE_BLOCKS, dataset_of, pickled_outcome, results_of
from raykd.data.watchdog import Heartbeat, JobWatchdog
from raykd.errors import RaykdError, ResourceError
from raykd.freed_memory import return_freed_memory
from raykd.lost_processes import lost_process_errors

T = TypeVar("T")
R = TypeVar("R")
Call = Callable[..., Any]
"""Calls :meth:`KeptActor.apply` in an actor's process; returns the reference to its result."""

SCORING = "RayTrainWorker.score"
"""Name of a lent worker's task, which Ray shows in the title of its process."""
RESTARTS = 3
"""Times that a kept actor is started again after its process was lost; its items are repeated."""
LOST = (
    f"a process that scores rows was lost {RESTARTS + 1} times; see that this machine has memory for it. "
    "The same command continues"
)


class LentWorkerLostError(RaykdError):
    """A lent process has ended before its result was there."""


class KeptActors:
    """Actors that are started for such jobs, and live until they are closed.

    They reserve no CPUs, or they would take those of trainings between two jobs; the Ray Data tasks that hand them items do.
    """

    _lost: RaykdError = ResourceError(LOST)

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
        """Yield (position of the item, result) in order of completion; each process builds the function once.

        ``to`` is the purpose in error messages. Raises the RaykdError that the function raises, ResourceError when no CPU comes
        free or the processes were lost too often.
        """
        self.start()
        with tempfile.TemporaryDirectory(prefix="raykd-actors-") as locks:
            yield from self._run(build, items, locks, cpus=cpus, to=to)

    def _run(
        self, build: Callable[[], Callable[[T], R]], items: Sequence[T], locks: str, *, cpus: int, to: str
    ) -> Iterator[tuple[int, R]]:
        """Run the job; ``locks`` is an empty folder, for a lock of each actor."""
        from ray.data import TaskPoolStrategy

        watchdog = JobWatchdog()
        data = dataset_of(items).map_batches(
            _hand_over,
            fn_kwargs={
                "actors": self._actors,
                "locks": locks,
                "call": self._call(),
                "build": pickle.dumps(build),
                "job": uuid.uuid4().hex,
                "heartbeat": watchdog.heartbeat,
                "lost": self._lost,
            },
            compute=TaskPoolStrategy(size=min(self._count, len(items))),
            num_cpus=cpus,
            **WHOLE_BLOCKS,
        )
        # Ray Data learns a second late what the machine has, and runs one task until then; here it never runs more than actors
        data.context.op_resource_reservation_enabled = False
        try:
            yield from results_of(data, watchdog, f"{cpus} CPU{'s' * (cpus > 1)} to {to}")
        except BaseException:
            self.close()  # what they still work on is wanted no more
            raise
        self._forget()

    def _call(self) -> Call:
        return _call_own

    def _forget(self) -> None:
        for actor in self._actors:
            actor.forget.remote()

    def close(self) -> None:
        """End the actors; a later job starts others."""
        import ray

        for actor in self._actors:
            ray.kill(actor)
        self._actors = []


class LentWorkers(KeptActors):
    """Processes of something else that have imported what the functions need, and wait.

    They are not ended here. The items of one that is lost, and all that are not done then, go to ``spare`` actors.
    """

    _lost = LentWorkerLostError()

    def __init__(self, workers: Sequence[Any], spare: KeptActors) -> None:
        """``workers`` are actors with a method ``execute(function, *arguments)``, as those of Ray Train."""
        super().__init__(len(workers))
        self._actors = list(workers)
        self._spare = spare

    def run(self, build: Callable[[], Callable[[T], R]], items: Sequence[T], *, cpus: int, to: str) -> Iterator[tuple[int, R]]:
        """As :meth:`KeptActors.run`."""
        left = dict(enumerate(items))
        try:
            for position, result in super().run(build, items, cpus=cpus, to=to):
                del left[position]
                yield position, result
        except LentWorkerLostError:
            positions = list(left)
            for index, result in self._spare.run(build, list(left.values()), cpus=cpus, to=to):
                yield positions[index], result

    def _call(self) -> Call:
        return _call_lent

    def _forget(self) -> None:
        for worker in self._actors:
            worker.execute.remote(_forget_here)

    def close(self) -> None:
        """Leave them to their owner, without what the last job has built."""
        import ray

        with contextlib.suppress(ray.exceptions.RayError):  # of a Ray that has ended; the error that led here counts
            self._forget()


class KeptActor:
    """In a process of :class:`KeptActors`: builds the function of a job once, and keeps it until the next one."""

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
            return pickled_outcome(self._function, item)

    def process(self) -> int:
        """Number of the process."""
        return os.getpid()

    def forget(self) -> None:
        """Free what the last job has built, and its memory."""
        if self._function is not None:
            self._function = None
            return_freed_memory()


@functools.cache
def _here() -> KeptActor:
    """The functions that a lent worker keeps in its process."""
    return KeptActor(None)


def _call_own(actor: Any, *arguments: Any) -> Any:
    return actor.apply.remote(*arguments)


def _call_lent(worker: Any, *arguments: Any) -> Any:
    return worker.execute.options(name=SCORING).remote(_apply_here, *arguments)


def _apply_here(job: str, build: bytes, item: bytes, heartbeat: Heartbeat) -> bytes:
    return _here().apply(job, build, item, heartbeat)


def _forget_here() -> None:
    _here().forget()


def _hand_over(
    batch: pa.Table,
    *,
    actors: Sequence[Any],
    locks: str,
    call: Call,
    build: bytes,
    job: str,
    heartbeat: Heartbeat,
    lost: RaykdError,
) -> pa.Table:
    """Results of a block of items, by a process that no other task uses."""
    import ray

    with _free_actor(locks, len(actors)) as number:
        waiting = [call(actors[number], job, build, item, heartbeat) for item in batch["item"].to_pylist()]
        try:
            results = ray.get(waiting)
        except lost_process_errors():
            results = [pickle.dumps(lost)] * len(waiting)
    return pa.table({"position": batch["position"], "result": pa.array(results, pa.binary())})


@contextlib.contextmanager
def _free_actor(locks: str, count: int) -> Iterator[int]:
    """Number below ``count`` of an actor that no other task of this machine uses; 0 where all are used.

    Reserved by a lock on a file in the folder ``locks``, which ends with the task's process. By turns, short items and long
    ones, such as the validation and the test rows of each model, could all fall to one process each.
    """
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(open(os.path.join(locks, str(number)), "w")) for number in range(count)]
        yield next((number for number, file in enumerate(files) if _lock(file)), 0)


def _lock(file: IO[str]) -> bool:
    """Lock a file until it is closed; False where another process or task has locked it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
