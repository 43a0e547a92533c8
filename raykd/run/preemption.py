"""What reaches a training worker from outside while it trains: the driver's wish to stop, and word of a node that is to go."""

import threading
import time
from typing import Any

import ray
import ray.train
from ray.exceptions import RayError

from raykd.errors import ResourceError
from raykd.run.task_queue import ask
from raykd.run.trainer import ControlRequests
from raykd.trainers.context import WorkerContext

LISTEN_SECONDS = 1.0
"""Between two looks: a node that is drained has tens of seconds, a job that is stopped has sixty."""


class PreemptionWatcher:
    """Listens in a thread of every worker, since Ray's word of a drained node is a barrier among all of them."""

    def __init__(self, board: Any, context: WorkerContext) -> None:
        self._board = board
        self._context = context
        self._stop = threading.Event()
        self._leaving = threading.Event()
        threading.Thread(target=self._listen, name="raykd-preemption-watcher", daemon=True).start()

    def outside(self) -> ControlRequests:
        """What the loop asks at each step, answered at once."""
        return ControlRequests(checkpoint=self._was_told_of_a_node, stop=self._stop.is_set)

    def _was_told_of_a_node(self) -> bool:
        told = self._leaving.is_set()
        self._leaving.clear()
        return told

    def _listen(self) -> None:
        known: set[str] = set()
        try:
            while True:
                if self._context.is_first and ask(self._board.listen.remote()):
                    self._stop.set()
                info = ray.train.get_preemption_info()
                leaving = set(info.preempted_node_ids) if info is not None else set()
                if leaving - known:
                    known |= leaving
                    self._leaving.set()
                time.sleep(LISTEN_SECONDS)
        except (RayError, ResourceError):  # the group is being taken down
            return
