"""Signals that reach a training worker from outside: the driver asks to stop, a node is about to leave the cluster."""

import threading
import time
from typing import Any

import ray
import ray.train
from ray.exceptions import RayError

from raykd.errors import ResourceError
from raykd.run.task_queue import ask
from raykd.trainers.context import WorkerContext
from raykd.trainers.control import ControlRequests

POLL_SECONDS = 1.0
"""Between two polls: a node that is drained has tens of seconds left, a job that is stopped has sixty."""


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
