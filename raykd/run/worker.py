"""The train function of a training worker: tasks from the queue, one after the other, each from its last checkpoint."""

import logging
import threading
import time
import traceback
from typing import Any

import ray
import ray.train
import torch
import torch.distributed as dist
from ray.exceptions import RayError
from ray.train.v2._internal.execution.context import get_train_context  # the public context lacks the controller
from ray.util import get_current_placement_group

from raykd.data.step_stream import ray_feed
from raykd.errors import RaykdError, ResourceError, TrainingError
from raykd.run.build_objective import BuildObjective
from raykd.run.task import TrainTask
from raykd.run.task_queue import ask
from raykd.run.train_task import OpenTask, open_task, run_open_task
from raykd.trainers.context import WorkerContext, ray_context
from raykd.trainers.control import ControlRequests, StopRequested
from raykd.trainers.event_log import Listener
from raykd.trainers.events import TrainingEvent, Warned
from raykd.trainers.launcher_variables import drop_foreign_launchers
from raykd.trainers.preload import preload

log = logging.getLogger(__name__)

_PERMANENT = (ArithmeticError, AssertionError, AttributeError, ImportError, LookupError, NameError, TypeError, ValueError)
"""Errors of the model, the data or the code. Errors of the system, of Ray and of storage may pass."""
_COMMUNICATION = ("gloo", "NCCL", "Connection", "connection", "timed out", "Timed out", "Socket", "process group")
"""Parts of the messages of RuntimeErrors that a lost peer causes."""
POLL_SECONDS = 1.0
"""Between two polls: a node that is drained has tens of seconds left, a job that is stopped has sixty."""


def train_worker(config: dict[str, Any]) -> None:
    """The train function of every Ray Train worker: trains the tasks of the queue in ``config`` until it is closed.

    A RaykdError, and any other that would come again, is reported to the queue and not raised: Ray Train would retry.
    """
    drop_foreign_launchers()
    torch.set_num_threads(config["threads"])
    queue, context = config["queue"], ray_context()
    imports = preload(deepspeed=config["deepspeed"], device=context.device)
    worker = _Worker(queue, context, config["build_objective"], imports)
    logging.getLogger("raykd").addHandler(_WarningForwarder(queue))
    try:
        owners = get_train_context().controller_actor, get_current_placement_group()
        worker.run(ask(queue.join.remote(context.rank, ray.get_runtime_context().current_actor, *owners)))
    except StopRequested:
        return
    except RaykdError as error:
        ask(queue.fail.remote(type(error), str(error)))
    except Exception as error:  # any type: what a restart cannot mend is reported, the rest is raised for Ray Train
        if not is_permanent(error):
            raise
        log.exception("a training failed")
        ask(queue.fail.remote(TrainingError, permanent_message(error)))


def is_permanent(error: Exception) -> bool:
    """True when an error would come again: one of the model, the data or the code, not of a lost worker or its network."""
    if isinstance(error, RuntimeError):
        return not (isinstance(error, dist.DistError) or any(sign in str(error) for sign in _COMMUNICATION))
    return isinstance(error, _PERMANENT)


def permanent_message(error: Exception) -> str:
    """Describe an error that is not retried, with the line of code that raised it."""
    reason = (str(error).strip().splitlines() or [""])[0]
    frames = traceback.extract_tb(error.__traceback__)
    location = f" in {frames[-1].filename}, line {frames[-1].lineno}" if frames else ""
    if isinstance(error, torch.OutOfMemoryError):
        advice = "lower training.micro_batch_size or data.sequence_length"
    else:
        advice = "another attempt would fail alike; see whether the model fits the rows. The worker's log has the traceback"
    return f"training failed: {type(error).__name__}: {reason}{location}; {advice}"


class _Worker:
    """Takes tasks from an index on; all workers see the same tasks in the same order."""

    def __init__(self, queue: Any, context: WorkerContext, build_objective: BuildObjective, imports: threading.Thread) -> None:
        self._imports = imports
        self._queue = queue
        self._context = context
        self._build_objective = build_objective
        self._control = PreemptionWatcher(queue, context).control_requests()
        self._next: OpenTask | None = None

    def run(self, index: int) -> None:
        """Train every task that is not done, until the queue is closed."""
        while (given := ask(self._queue.task.remote(index))) is not False:
            if given is True:
                continue
            task = TrainTask.model_validate(given)
            if not task.is_done():
                self._train(task, index)
            if self._context.is_first:
                ask(self._queue.finish.remote(index))
            index += 1

    def _train(self, task: TrainTask, index: int) -> None:
        opened, self._next = self._next, None
        if opened is None or opened.task != task:
            opened = open_task(task, self._context, ray_feed)
        self._imports.join()  # while Ray Data reads the first rows
        run_open_task(
            opened,
            self._context,
            build_objective=self._build_objective,
            listeners=(_report_to(self._queue, task.name),),
            near_end=lambda: self._open_next(index + 1),
            control=self._control,
        )

    def _open_next(self, index: int) -> None:
        """Request the next task's rows, once the queue has a next task; the first worker asks. *Collective.*"""
        if self._next is not None:
            return
        given = self._context.on_first(lambda: ask(self._queue.task.remote(index, timeout_s=0.0)))
        if isinstance(given, dict):
            task = TrainTask.model_validate(given)
            if not self._context.on_first(task.is_done):
                self._next = open_task(task, self._context, ray_feed)


class PreemptionWatcher:
    """Polls in a thread of every worker, because Ray's ``get_preemption_info`` is a barrier among all of them."""

    def __init__(self, queue: Any, context: WorkerContext) -> None:
        self._queue = queue
        self._context = context
        self._stop = threading.Event()
        self._node_leaves = threading.Event()
        threading.Thread(target=self._poll, name="raykd-preemption-watcher", daemon=True).start()

    def control_requests(self) -> ControlRequests:
        """Requests for the trainer, from what the thread has seen."""
        return ControlRequests(checkpoint=self._take_node_leaves, stop=self._stop.is_set)

    def _take_node_leaves(self) -> bool:
        """Return true once for each time that nodes were announced to leave."""
        leaves = self._node_leaves.is_set()
        self._node_leaves.clear()
        return leaves

    def _poll(self) -> None:
        known: set[str] = set()
        try:
            while True:
                if self._context.is_first and ask(self._queue.heartbeat.remote()):
                    self._stop.set()
                info = ray.train.get_preemption_info()
                leaving = set(info.preempted_node_ids) if info is not None else set()
                if leaving - known:
                    known |= leaving
                    self._node_leaves.set()
                time.sleep(POLL_SECONDS)
        except (RayError, ResourceError):  # the group is being taken down
            return


class _WarningForwarder(logging.Handler):
    """Passes raykd's own warnings on to the driver; the worker's log is a file in Ray's session folder."""

    def __init__(self, queue: Any) -> None:
        super().__init__(logging.WARNING)
        self._queue = queue

    def emit(self, record: logging.LogRecord) -> None:
        self._queue.record.remote("", Warned(step=0, message=record.getMessage()))


def _report_to(queue: Any, name: str) -> Listener:
    """A listener that passes the events of the training ``name`` on to the driver."""

    def report(event: TrainingEvent) -> None:
        queue.record.remote(name, event)

    return report
