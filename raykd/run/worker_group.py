"""One group of Ray Train workers for all training of a run: stages hand their tasks to it.

Starting a group costs as much as training a small student, so one ``TorchTrainer.fit()`` serves teacher and students alike.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

from raykd.cluster import uses_gpu, wait_for_resources, worker_bundles
from raykd.config import ComputeConfig
from raykd.data.storage import absolute
from raykd.errors import RaykdError, ResourceError, TrainingError
from raykd.fork_server.running_server import is_running
from raykd.freed_memory import variables_that_keep_freed_memory
from raykd.run.build_objective import BuildObjective, build_objective
from raykd.run.task import TrainTask
from raykd.run.task_queue import QueueUpdate, TaskQueue, ask
from raykd.session import free_cpus, is_local_ray
from raykd.trainers.events import StepMetrics, TrainingEvent

log = logging.getLogger(__name__)

POLL_SECONDS = 0.25
"""Seconds between the driver's polls of the task queue: short enough for a progress bar that moves smoothly."""

STOP_SECONDS = 45
"""Time for workers to write a checkpoint and end; a stopped job has 60 s altogether (raykd/submit)."""

CUT_SECONDS = 5
"""Wait for workers whose work is wanted no more; Ray Train sees every 2 s whether idle ones have ended."""

FAILED_SECONDS = 10
"""Time for the workers of a failed training to end. One that waits for a peer that has failed never does."""

AHEAD_STEPS = 300
"""Steps before the end of a group's last task at which the driver gives it another one, whose rows the workers then request."""

OnEvent = Callable[[str, TrainingEvent], None]
"""Called on the driver with a task's name and one event of its training."""

MoreTasks = Callable[[], Sequence[TrainTask]]
"""Returns further tasks for a group whose last task ends soon; none when there are none."""


class WorkerGroup:
    """The driver's side of one group: starts the workers when first needed, hands out tasks, monitors and ends the workers."""

    def __init__(
        self, compute: ComputeConfig, *, storage: str, name: str, build_objective: BuildObjective = build_objective
    ) -> None:
        self._compute = compute
        self._build_objective = build_objective
        self._storage = storage
        self._name = name
        self._queue: Any = None
        self._fit: _FitThread | None = None
        self._submitted = 0
        self._last = ""
        self._patience_s: float = STOP_SECONDS
        self._stopped = False

    def start(self) -> None:
        """Start the workers in the background, so that they import while data is prepared. Does nothing when they are up.

        Waits for nodes, up to ``start_timeout_s``. Raises ResourceError when the cluster lacks resources for the workers.
        """
        if self._fit is not None:
            return
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        compute = self._compute
        bundles = worker_bundles(compute.min_workers, cpus=compute.worker_cpus, gpu=uses_gpu(compute))
        wait_for_resources(bundles, f"{compute.min_workers} training workers and Ray Data", limit_s=compute.start_timeout_s)
        # with the driver, whose loss ends the run anyway: on another node the queue could be lost by itself
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self._queue = ray.remote(num_cpus=0)(TaskQueue).options(scheduling_strategy=here).remote()
        self._fit = _FitThread(lambda: self._build().fit())
        self._submitted = 0
        self._patience_s = STOP_SECONDS
        self._stopped = False
        self._fit.start()

    def run(self, tasks: Sequence[TrainTask], on_event: OnEvent, more: MoreTasks = tuple) -> None:
        """Train all tasks, in order, and those that ``more`` returns. On an interrupt the workers write a checkpoint first.

        ``more`` is asked shortly before the last task ends. Raises the error of the first task that fails, TrainingError after
        too many lost workers, ResourceError when none start.
        """
        self.start()
        self._patience_s = STOP_SECONDS
        self._submit(tasks)
        try:
            while not self._finished(on_event, more):
                time.sleep(POLL_SECONDS)
        except KeyboardInterrupt:
            self.stop(on_event)
            raise
        except RaykdError:
            self._patience_s = FAILED_SECONDS
            raise
        if is_local_ray() and not self._compute.elastic:  # elsewhere Ray's dashboard would show a run that was aborted
            self._patience_s = 0.0

    def _submit(self, tasks: Sequence[TrainTask]) -> None:
        ask(self._queue.submit.remote([task.model_dump(mode="json") for task in tasks]))
        self._submitted += len(tasks)
        self._last = tasks[-1].name

    def _finished(self, on_event: OnEvent, more: MoreTasks) -> bool:
        """Pass on new events, and submit further tasks in time. Returns whether all tasks are done."""
        alive = self._fit is not None and self._fit.is_alive()  # read before the update, which is complete then
        update = self._poll(on_event)
        if update.failure is not None:
            raise update.failure[0](update.failure[1])
        ends = update.done >= self._submitted or any(self._ends_soon(name, event) for name, event in update.events)
        if alive and ends and (others := more()):
            self._submit(others)
        if update.done >= self._submitted:
            return True
        if not alive:
            raise self._workers_lost()
        if update.seconds_since_heartbeat > self._compute.start_timeout_s:
            raise ResourceError(
                f"waited {update.seconds_since_heartbeat:.0f} s (compute.start_timeout_s) for training workers: "
                f"{self._compute.workers_text} of {self._compute.worker_cpus} CPUs did not start; see that "
                "nodes are up and idle. Try again then"
            )
        return False

    def _ends_soon(self, name: str, event: TrainingEvent) -> bool:
        return name == self._last and isinstance(event, StepMetrics) and event.total_steps - event.step <= AHEAD_STEPS

    def _poll(self, on_event: OnEvent) -> QueueUpdate:
        update: QueueUpdate = ask(self._queue.poll.remote())
        for name, event in update.events:
            on_event(name, event)
        return update

    def stop(self, on_event: OnEvent) -> None:
        """Ask the workers to write a checkpoint and stop, and wait for them."""
        if self._fit is None or not self._fit.is_alive() or self._stopped:
            return
        self._stopped = True
        log.warning("stopping: the workers write a checkpoint first, for at most %d s", STOP_SECONDS)
        ask(self._queue.stop.remote())
        deadline = time.monotonic() + STOP_SECONDS
        while self._fit.is_alive() and time.monotonic() < deadline:
            self._poll(on_event)
            time.sleep(POLL_SECONDS)
        self._poll(on_event)
        self._patience_s = FAILED_SECONDS  # what they had is spent

    def waiting_workers(self) -> Sequence[Any]:
        """The actors of the workers, which wait for a task; none while they start, and none where their number may change."""
        if self._fit is None or not self._fit.is_alive() or self._compute.elastic:
            return ()
        workers: Sequence[Any] = ask(self._queue.workers.remote())
        return workers if len(workers) == self._compute.min_workers else ()

    def cut_short(self) -> None:
        """Have :meth:`close` end started workers by force after ``CUT_SECONDS``: what they still do is wanted no more."""
        with contextlib.suppress(ResourceError):  # a lost queue
            if self._fit is not None and self._fit.is_alive() and ask(self._queue.owners.remote()) is not None:
                self._patience_s = min(self._patience_s, CUT_SECONDS)

    def release_for(self, *, cpus: int, gpu: bool) -> bool:
        """End idle workers that hold what something else needs; a later task starts others. True when none are left."""
        if self._fit is not None and (gpu or self._compute.elastic or free_cpus() < cpus):
            self.close()
        return self._fit is None

    def close(self) -> None:
        """End the workers: when they have done what they do, or by force; at once where they wait for tasks on a local Ray.

        The thread of ``fit`` ends with them: where it calls Ray after Ray's end, Ray ends the process with exit code 1.
        """
        if self._fit is None:
            return
        import ray

        with contextlib.suppress(ResourceError):  # a lost queue: the workers end without it
            if self._fit.is_alive():
                ask(self._queue.close.remote())
                self._fit.join(timeout=self._patience_s)
            if self._fit.is_alive() and (owners := ask(self._queue.owners.remote())) is not None:
                controller, placement_group = owners
                ray.kill(controller)  # the workers are its own, and end with it
                ray.util.remove_placement_group(placement_group)
                self._fit.join(timeout=STOP_SECONDS)
        ray.kill(self._queue)
        self._queue = self._fit = None

    def _build(self) -> Any:
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer

        from raykd.run.worker import train_worker
        from raykd.trainers.local_trainer import LocalTorchTrainer

        use_gpu = uses_gpu(self._compute)
        return (LocalTorchTrainer if is_local_ray() else TorchTrainer)(
            train_worker,
            train_loop_config={
                "queue": self._queue,
                "threads": self._compute.worker_cpus,
                "build_objective": self._build_objective,
                "deepspeed": self._compute.engine.kind == "deepspeed",
            },
            scaling_config=ScalingConfig(
                num_workers=self._compute.num_workers,
                elastic_resize_monitor_interval_s=self._compute.resize_seconds,
                use_gpu=use_gpu,
                resources_per_worker={"CPU": self._compute.worker_cpus} | ({"GPU": 1} if use_gpu else {}),
            ),
            torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo", timeout_s=int(self._compute.collective_timeout_s)),
            run_config=RunConfig(
                name=f"{self._name}-{time.time_ns()}",  # the state of a run lies in raykd's own checkpoints, never in Ray's
                storage_path=absolute(self._storage),  # Ray takes a relative path for a URI without a scheme
                failure_config=FailureConfig(max_failures=self._compute.max_failures),
                # forked workers have these variables; a runtime environment takes another process and seconds
                worker_runtime_env=None if is_running() else {"env_vars": variables_that_keep_freed_memory()},
            ),
        )

    def _workers_lost(self) -> TrainingError:
        error = self._fit.error if self._fit is not None else None
        causes = getattr(error, "worker_failures", None)
        if not causes:
            lines = str(error).strip().splitlines() or [type(error).__name__]
            return TrainingError(f"Ray Train could not run the workers: {lines[-1]}. Logs are in Ray's session folder")
        rank, cause = next(iter(causes.items()))
        text = " ".join(str(cause).strip().splitlines()[-1:])
        return TrainingError(
            f"training workers failed more than compute.max_failures = {self._compute.max_failures} times; the last time rank "
            f"{rank} failed with: {text or type(cause).__name__}. Logs are in Ray's session folder; the same command continues"
        )


class _FitThread(threading.Thread):
    """Runs ``fit`` in a thread and keeps its error."""

    def __init__(self, fit: Callable[[], Any]) -> None:
        super().__init__(name="raykd-fit", daemon=True)
        self._fit = fit
        self.error: BaseException | None = None

    def run(self) -> None:
        """Fit; the driver's thread reports the error."""
        try:
            self._fit()
        except Exception as error:  # of any type: it crosses to the thread that waits
            self.error = error
