"""Several worker groups in parallel, where the cluster has resources; each takes the next batch of tasks with one affinity."""

import itertools
import os
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Protocol

from raykd.cluster import DATA_CPUS, uses_gpu
from raykd.config import ComputeConfig
from raykd.run.task import TrainTask
from raykd.run.worker_group import OnEvent
from raykd.trainers.events import TrainingEvent


class Group(Protocol):
    """The interface of :class:`~raykd.run.worker_group.WorkerGroup`."""

    def start(self) -> None:
        """Start the workers in the background."""
        ...

    def run(self, tasks: Sequence[TrainTask], on_event: OnEvent) -> None:
        """Train all tasks, in order."""
        ...

    def stop(self, on_event: OnEvent) -> None:
        """Have the workers write a checkpoint and end."""
        ...

    def release_for(self, *, cpus: int, gpu: bool) -> None:
        """End idle workers that hold CPUs or a GPU that something else needs."""
        ...

    def close(self) -> None:
        """End the workers."""
        ...


Affinity = Callable[[TrainTask], object]
"""Equal values for tasks that share data in a worker's process."""


def same_rows_and_objective(task: TrainTask) -> object:
    """The seeds of one domain, which share a teacher's stored states."""
    return task.train, task.objective


class ParallelGroups:
    """Groups that are started when first needed, and kept for later tasks."""

    def __init__(self, build: Callable[[], Group], on_event: OnEvent) -> None:
        self._build = build
        self._on_event = on_event
        self._lock = threading.Lock()
        self._groups: list[Group] = []

    def start(self) -> None:
        """Start one group in the background."""
        self._grow(1)
        self._groups[0].start()

    def run(self, tasks: Sequence[TrainTask], *, at_most: int, affinity: Affinity = same_rows_and_objective) -> None:
        """Train all tasks. Neighbours with an affinity (the seeds of one domain) stay in one group, in order.

        Raises the first error, after the tasks that run at the same time have ended: finished work is kept.
        """
        batches = deque(list(batch) for _, batch in itertools.groupby(tasks, key=affinity))
        count = min(at_most, len(batches))
        self._grow(count)
        if count <= 1:
            for group in self._groups[:count]:
                group.run(tasks, self._on_event)
            return
        pool = ThreadPoolExecutor(count, thread_name_prefix="raykd-group")
        try:
            working = [pool.submit(self._work, group, batches) for group in self._groups[:count]]
            wait(working, return_when=FIRST_EXCEPTION)
            batches.clear()
            for one in working:
                one.result()
        except KeyboardInterrupt:
            batches.clear()
            for group in self._groups:
                group.stop(self._record)
            raise
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _grow(self, count: int) -> None:
        while len(self._groups) < count:
            self._groups.append(self._build())

    def _work(self, group: Group, batches: "deque[list[TrainTask]]") -> None:
        while True:
            try:
                batch = batches.popleft()
            except IndexError:
                return
            group.run(batch, self._record)

    def _record(self, name: str, event: TrainingEvent) -> None:
        """Pass on one event at a time: they come from several threads."""
        with self._lock:
            self._on_event(name, event)

    def release_for(self, *, cpus: int, gpu: bool) -> None:
        """End idle workers that hold CPUs or a GPU that something else needs."""
        for group in self._groups:
            group.release_for(cpus=cpus, gpu=gpu)

    def close(self) -> None:
        """End all workers."""
        for group in self._groups:
            group.close()
        self._groups.clear()


def groups_that_fit(compute: ComputeConfig) -> int:
    """Number of groups of these workers that the cluster holds; 1 on a local Ray, whose CPUs only count what runs at once."""
    return groups_with_cpus(compute) if os.environ.get("RAY_ADDRESS") else 1


def groups_with_cpus(compute: ComputeConfig) -> int:
    """Number of groups of these workers, each with its share for Ray Data, that Ray has CPUs and GPUs for; at least 1.

    1 for an elastic number of workers.
    """
    if compute.elastic:
        return 1
    import ray

    resources = ray.cluster_resources()
    count = int(resources.get("CPU", 0) // (compute.max_workers * compute.cpus_per_worker + DATA_CPUS))
    if uses_gpu(compute):
        count = min(count, int(resources.get("GPU", 0) // compute.max_workers))
    return max(1, count)
