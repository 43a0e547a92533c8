"""Several groups of workers side by side, where there is room: each takes the next trainings that belong together."""

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Protocol

from raykd.cluster import DATA_CPUS
from raykd.config import ComputeConfig
from raykd.run.task import TrainTask
from raykd.run.worker_group import OnEvent, uses_gpu
from raykd.trainers.events import TrainingEvent


class Group(Protocol):
    """What a :class:`~raykd.run.worker_group.TrainingGroup` does."""

    def run(self, tasks: Sequence[TrainTask], on_event: OnEvent) -> None:
        """Train all tasks, in order."""
        ...

    def stop(self, on_event: OnEvent) -> None:
        """Have the workers write a checkpoint and end."""
        ...

    def make_room(self, *, cpus: int, gpu: bool) -> None:
        """Let idle workers go where they hold what something else needs."""
        ...

    def close(self) -> None:
        """Let the workers go."""
        ...


Together = Callable[[TrainTask], object]
"""What is the same for trainings that share something in their process."""


def same_rows_and_objective(task: TrainTask) -> object:
    """Of a domain's seeds, which share a teacher's states."""
    return task.train, task.objective


class TrainingGroups:
    """Groups that are started when they are first needed, and stay up for what comes later."""

    def __init__(self, build: Callable[[], Group], on_event: OnEvent) -> None:
        self._build = build
        self._on_event = on_event
        self._lock = threading.Lock()
        self._groups: list[Group] = []

    def run(self, tasks: Sequence[TrainTask], *, at_most: int, together: Together = same_rows_and_objective) -> None:
        """Train all tasks. Neighbours for which ``together`` says the same (a domain's seeds) stay in one group, in order.

        Raises the first error, after what runs beside it has come to the end of its trainings: finished work is kept.
        """
        shares = deque(list(share) for _, share in itertools.groupby(tasks, key=together))
        count = min(at_most, len(shares))
        while len(self._groups) < count:
            self._groups.append(self._build())
        if count <= 1:
            for group in self._groups[:count]:
                group.run(tasks, self._on_event)
            return
        pool = ThreadPoolExecutor(count, thread_name_prefix="raykd-group")
        try:
            working = [pool.submit(self._work, group, shares) for group in self._groups[:count]]
            wait(working, return_when=FIRST_EXCEPTION)
            shares.clear()
            for one in working:
                one.result()
        except KeyboardInterrupt:
            shares.clear()
            for group in self._groups:
                group.stop(self._record)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _work(self, group: Group, shares: "deque[list[TrainTask]]") -> None:
        while True:
            try:
                share = shares.popleft()
            except IndexError:
                return
            group.run(share, self._record)

    def _record(self, name: str, event: TrainingEvent) -> None:
        """Pass on one event at a time: they come from several threads."""
        with self._lock:
            self._on_event(name, event)

    def make_room(self, *, cpus: int, gpu: bool) -> None:
        """Let idle workers go where they hold what something else needs."""
        for group in self._groups:
            group.make_room(cpus=cpus, gpu=gpu)

    def close(self) -> None:
        """Let all workers go."""
        for group in self._groups:
            group.close()
        self._groups.clear()


def groups_that_fit(compute: ComputeConfig) -> int:
    """How many groups of these workers the cluster has room for; 1 on a Ray of this machine's own, whose CPUs only count."""
    return groups_with_cpus(compute) if os.environ.get("RAY_ADDRESS") else 1


def groups_with_cpus(compute: ComputeConfig) -> int:
    """How many groups of these workers, each with its share for Ray Data, Ray has CPUs and GPUs for; at least 1.

    1 for a number of workers that follows the cluster.
    """
    if compute.elastic:
        return 1
    import ray

    resources = ray.cluster_resources()
    count = int(resources.get("CPU", 0) // (compute.max_workers * compute.cpus_per_worker + DATA_CPUS))
    if uses_gpu(compute):
        count = min(count, int(resources.get("GPU", 0) // compute.max_workers))
    return max(1, count)
