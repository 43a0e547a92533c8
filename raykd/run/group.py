"""One group of Ray Train workers for all training of a run: tasks are handed to it as the stages come to them.

Starting a group costs as much as training a small student, so one ``TorchTrainer.fit()`` serves teacher and students alike.
"""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from raykd.config import ComputeConfig
from raykd.data.storage import absolute
from raykd.errors import RaykdError, TrainingError
from raykd.run.task import TrainTask
from raykd.session import require_cpus

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""How often the driver asks for news: a progress bar moves smoothly, the board is asked four times a second."""

OnRecord = Callable[[str, Mapping[str, Any]], None]
"""Called on the driver with a task's name and one record of its monitor."""


class TaskBoard:
    """An actor between the driver and the workers: an append-only list of tasks, and what is said of them."""

    def __init__(self) -> None:
        self._tasks: list[dict[str, Any]] = []
        self._done: set[int] = set()
        self._closed = False
        self._failure: tuple[type[RaykdError], str] | None = None
        self._records: list[tuple[str, dict[str, Any]]] = []
        self._changed = asyncio.Event()

    async def submit(self, tasks: list[dict[str, Any]]) -> None:
        """Append tasks."""
        self._tasks.extend(tasks)
        self._changed.set()

    async def close(self) -> None:
        """No more tasks come: workers that ask for one return."""
        self._closed = True
        self._changed.set()

    async def first_open(self) -> int:
        """Index of the first task that is not finished; workers start, and start again, there."""
        return next((index for index in range(len(self._tasks)) if index not in self._done), len(self._tasks))

    async def task(self, index: int, *, patience_s: float = 20.0) -> dict[str, Any] | bool:
        """The task of an index; True when it may still come, False when it will not."""
        deadline = time.monotonic() + patience_s
        while index >= len(self._tasks) and not self._closed:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - time.monotonic())
            except TimeoutError:
                return True
        return self._tasks[index] if index < len(self._tasks) else False

    async def finish(self, index: int) -> None:
        """Say that a task is finished."""
        self._done.add(index)

    async def fail(self, kind: type[RaykdError], message: str) -> None:
        """Say that a task cannot be finished, however often it is tried."""
        self._failure = self._failure or (kind, message)

    async def record(self, name: str, entry: dict[str, Any]) -> None:
        """Pass on a monitor's record."""
        self._records.append((name, entry))

    async def news(self) -> tuple[list[tuple[str, dict[str, Any]]], int, tuple[type[RaykdError], str] | None]:
        """Records since the last call, number of finished tasks, failure if any."""
        records, self._records = self._records, []
        return records, len(self._done), self._failure


class TrainingGroup:
    """The driver's side: starts the workers when first needed, hands out tasks, watches them, lets the workers go."""

    def __init__(self, compute: ComputeConfig, *, storage: str, name: str) -> None:
        self._compute = compute
        self._storage = storage
        self._name = name
        self._board: Any = None
        self._fit: _FitThread | None = None
        self._submitted = 0

    def start(self) -> None:
        """Bring the workers up in the background, so that they import while data is prepared. Harmless when they are up."""
        if self._fit is not None:
            return
        import ray

        workers = self._compute.num_workers
        require_cpus(workers, self._compute.cpus_per_worker)
        self._board = ray.remote(num_cpus=0)(TaskBoard).remote()
        self._fit = _FitThread(lambda: self._build().fit())
        self._submitted = 0
        self._fit.start()

    def run(self, tasks: Sequence[TrainTask], on_record: OnRecord) -> None:
        """Train all tasks, in order. Raises the error of the first that fails, TrainingError when workers keep dying."""
        import ray

        self.start()
        ray.get(self._board.submit.remote([task.model_dump(mode="json") for task in tasks]))
        self._submitted += len(tasks)
        while True:
            alive = self._fit is not None and self._fit.is_alive()
            records, done, failure = ray.get(self._board.news.remote())
            for name, entry in records:
                on_record(name, entry)
            if failure is not None:
                raise failure[0](failure[1])
            if done >= self._submitted:
                return
            if not alive:
                raise self._lost()
            time.sleep(POLL_SECONDS)

    def close(self) -> None:
        """Let the workers go and free what they hold."""
        if self._fit is None:
            return
        import ray

        if self._fit.is_alive():
            ray.get(self._board.close.remote())
            self._fit.join(timeout=self._compute.collective_timeout_s)
        ray.kill(self._board)
        self._board = self._fit = None

    def _build(self) -> Any:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        from raykd.run.worker import train_worker

        use_gpu = uses_gpu(self._compute)
        return TorchTrainer(
            train_worker,
            train_loop_config={"board": self._board, "threads": self._compute.cpus_per_worker},
            scaling_config=ScalingConfig(
                num_workers=self._compute.num_workers,
                use_gpu=use_gpu,
                resources_per_worker={"CPU": self._compute.cpus_per_worker} | ({"GPU": 1} if use_gpu else {}),
            ),
            torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo", timeout_s=int(self._compute.collective_timeout_s)),
            run_config=RunConfig(
                name=f"{self._name}-{time.time_ns()}",  # the state of a run lies in raykd's own checkpoints, never in Ray's
                storage_path=absolute(self._storage),  # Ray takes a relative path for a URI without a scheme
                failure_config=FailureConfig(max_failures=self._compute.max_failures),
            ),
        )

    def _lost(self) -> TrainingError:
        error = self._fit.error if self._fit is not None else None
        causes = getattr(error, "worker_failures", None)
        if not causes:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return TrainingError(f"Ray Train could not run the workers: {lines[-1]}. Logs are in Ray's session folder")
        rank, cause = next(iter(causes.items()))
        text = " ".join(str(cause).strip().splitlines()[-1:])
        return TrainingError(
            f"training workers failed more than compute.max_failures = {self._compute.max_failures} times; the last time rank "
            f"{rank} said: {text or type(cause).__name__}. Logs are in Ray's session folder; the same command continues"
        )


class _FitThread(threading.Thread):
    """Runs ``fit`` beside the driver and keeps its error."""

    def __init__(self, fit: Callable[[], Any]) -> None:
        super().__init__(name="raykd-fit", daemon=True)
        self._fit = fit
        self.error: BaseException | None = None

    def run(self) -> None:
        """Fit; an error of any kind is carried over to the driver's thread, which says what it means."""
        try:
            self._fit()
        except Exception as error:
            self.error = error


def uses_gpu(compute: ComputeConfig) -> bool:
    """Whether workers take a GPU: as configured, else where the cluster has enough of them."""
    import ray

    if compute.use_gpu is not None:
        return compute.use_gpu
    return bool(ray.cluster_resources().get("GPU", 0) >= compute.num_workers)
