"""One group of Ray Train workers for all training of a run: tasks are handed to it as the stages come to them.

Starting a group costs as much as training a small student, so one ``TorchTrainer.fit()`` serves teacher and students alike.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from raykd.cluster import require_room, uses_gpu, worker_bundles
from raykd.config import ComputeConfig
from raykd.data.storage import absolute
from raykd.errors import ResourceError, TrainingError
from raykd.run.build_objective import BuildObjective, build_objective
from raykd.run.task import TrainTask
from raykd.run.task_queue import QueueUpdate, TaskQueue, ask
from raykd.session import free_cpus
from raykd.trainers.events import TrainingEvent

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""Seconds between the driver's polls of the task queue: short enough for a progress bar that moves smoothly."""

STOP_SECONDS = 45
"""For workers to end, a checkpoint included; a stopped job has 60 s altogether (raykd/submit)."""

OnEvent = Callable[[str, TrainingEvent], None]
"""Called on the driver with a task's name and one event of its training."""


class WorkerGroup:
    """The driver's side: starts the workers when first needed, hands out tasks, watches them, lets the workers go."""

    def __init__(
        self, compute: ComputeConfig, *, storage: str, name: str, build_objective: BuildObjective = build_objective
    ) -> None:
        self._compute = compute
        self._build_objective = build_objective
        self._storage = storage
        self._name = name
        self._board: Any = None
        self._fit: _FitThread | None = None
        self._submitted = 0

    def start(self) -> None:
        """Bring the workers up in the background, so that they import while data is prepared. Harmless when they are up.

        Waits for nodes, up to ``start_timeout_s``. Raises ResourceError when the cluster has no room for the workers.
        """
        if self._fit is not None:
            return
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        compute = self._compute
        bundles = worker_bundles(compute.min_workers, cpus=compute.cpus_per_worker, gpu=uses_gpu(compute))
        require_room(bundles, f"{compute.min_workers} training workers and Ray Data", limit_s=compute.start_timeout_s)
        # with the driver, whose loss ends the run anyway: on another node the board would be one thing more to lose
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._board = ray.remote(num_cpus=0)(TaskQueue).options(scheduling_strategy=here).remote()
        self._fit = _FitThread(lambda: self._build().fit())
        self._submitted = 0
        self._fit.start()

    def run(self, tasks: Sequence[TrainTask], on_event: OnEvent) -> None:
        """Train all tasks, in order. An interrupt has the workers write a checkpoint before it goes on its way.

        Raises the error of the first task that fails, TrainingError when workers keep dying, ResourceError when none come.
        """
        self.start()
        ask(self._board.submit.remote([task.model_dump(mode="json") for task in tasks]))
        self._submitted += len(tasks)
        try:
            while not self._finished(on_event):
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self.stop(on_event)
            raise

    def _finished(self, on_event: OnEvent) -> bool:
        """Pass on what is new; whether all tasks are done."""
        alive = self._fit is not None and self._fit.is_alive()  # asked before the news, which are complete then
        news = self._news(on_event)
        if news.failure is not None:
            raise news.failure[0](news.failure[1])
        if news.done >= self._submitted:
            return True
        if not alive:
            raise self._lost()
        if news.silent_s > self._compute.start_timeout_s:
            raise ResourceError(
                f"waited {news.silent_s:.0f} s (compute.start_timeout_s) for training workers: {self._compute.workers_text} of "
                f"{self._compute.cpus_per_worker} CPUs did not start; see that nodes are up and idle. Try again then"
            )
        return False

    def _news(self, on_event: OnEvent) -> QueueUpdate:
        news: QueueUpdate = ask(self._board.news.remote())
        for name, event in news.events:
            on_event(name, event)
        return news

    def stop(self, on_event: OnEvent) -> None:
        """Ask the workers to stop, and give them some time to write a checkpoint."""
        if self._fit is None or not self._fit.is_alive():
            return
        log.warning("stopping: the workers write a checkpoint first, for at most %d s", STOP_SECONDS)
        ask(self._board.stop.remote())
        deadline = time.monotonic() + STOP_SECONDS
        while self._fit.is_alive() and time.monotonic() < deadline:
            self._news(on_event)
            time.sleep(POLL_SECONDS)
        self._news(on_event)

    def make_room(self, *, cpus: int, gpu: bool) -> None:
        """Let the workers go where, idle, they hold what something else needs; a later task starts others."""
        if self._fit is not None and (gpu or self._compute.elastic or free_cpus() < cpus):
            self.close()

    def close(self) -> None:
        """Let the workers go and free what they hold."""
        if self._fit is None:
            return
        import ray

        if self._fit.is_alive():
            with contextlib.suppress(ResourceError):  # a board that is lost: the workers end without it
                ask(self._board.close.remote())
            self._fit.join(timeout=STOP_SECONDS)
        ray.kill(self._board)
        self._board = self._fit = None

    def _build(self) -> Any:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        from raykd.run.worker import train_worker

        use_gpu = uses_gpu(self._compute)
        return TorchTrainer(
            train_worker,
            train_loop_config={
                "board": self._board,
                "threads": self._compute.cpus_per_worker,
                "build_objective": self._build_objective,
            },
            scaling_config=ScalingConfig(
                num_workers=self._compute.num_workers,
                elastic_resize_monitor_interval_s=self._compute.resize_seconds,
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
