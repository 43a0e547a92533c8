"""Several worker groups side by side: each trains the next tasks of the queue, and is kept for later ones."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from typing import Any, Protocol

from raykd.config.features import TeacherFeaturesConfig
from raykd.placement import AvailableResources, Placement
from raykd.run.task import TrainTask
from raykd.run.worker_group import MoreTasks, OnEvent
from raykd.trainers.events import TrainingEvent

POLL_SECONDS = 0.5
"""Longest wait between two looks at the state of all groups."""

END_SECONDS = 5
"""Longest wait for the threads of groups whose workers have ended."""


class Group(Protocol):
    """The interface of :class:`~raykd.run.worker_group.WorkerGroup`."""

    def start(self) -> None:
        """Start the workers in the background."""
        ...

    def run(self, tasks: Sequence[TrainTask], on_event: OnEvent, more: MoreTasks = ...) -> None:
        """Train all tasks, in order, and those that ``more`` returns shortly before the last one ends."""
        ...

    def stop(self, on_event: OnEvent) -> None:
        """Have the workers write a checkpoint and end."""
        ...

    def waiting_workers(self) -> Sequence[Any]:
        """The actors of workers that wait for a task."""
        ...

    def release_for(self, *, cpus: int, gpu: bool) -> bool:
        """End idle workers that hold CPUs or a GPU that something else needs. True when none are left."""
        ...

    def cut_short(self) -> None:
        """Have :meth:`close` not wait for what the workers still do."""
        ...

    def close(self) -> None:
        """End the workers."""
        ...


def same_group(task: TrainTask) -> object:
    """Return a value that is equal for tasks that may share stored states of a teacher, which one group trains in order."""
    shares = isinstance(task.objective, TeacherFeaturesConfig) and task.objective.teacher_states != "live"
    return (task.train, task.objective) if shares else task.folder


@dataclass(frozen=True, eq=False)
class TaskBatch:
    """Tasks that one group trains, in order."""

    tasks: tuple[TrainTask, ...]
    placement: Placement

    @property
    def folders(self) -> set[str]:
        """Folders of the tasks."""
        return {task.folder for task in self.tasks}


class ParallelGroups:
    """The groups of a run. Tasks that are waited for come first; others use the CPUs or GPUs that these leave free."""

    def __init__(
        self, build: Callable[[Placement], Group], on_event: OnEvent, available: Callable[[], AvailableResources]
    ) -> None:
        """Prepare without starting any. ``available`` is the limit for trainings beside those that are waited for."""
        self._build, self._on_event, self._resources = build, on_event, available
        self._changed = threading.Condition()
        self._speaking = threading.Lock()
        self._queue: deque[TaskBatch] = deque()
        self._beside: deque[TaskBatch] = deque()
        self._busy: dict[Group, list[TaskBatch]] = {}
        self._idle: dict[Group, Placement] = {}
        self._awaited: set[str] = set()
        self._done: set[str] = set()
        self._error: BaseException | None = None

    def start(self, placement: Placement) -> None:
        """Start one group in the background."""
        with self._changed:
            group = self._take_group(placement)
            self._idle[group] = placement
        group.start()

    def train_beside(self, tasks: Iterable[TrainTask], placement: Placement) -> None:
        """Let tasks train where the tasks of :meth:`run` leave resources, and no longer than any of these trains."""
        with self._changed:
            self._beside += _batches(tasks, placement)

    def run(self, tasks: Sequence[TrainTask], placement: Placement) -> None:
        """Train all tasks. Tasks that share a teacher's states stay in one group, in order.

        Raises the first error, after the tasks that train at the same time have ended: finished work is kept. An interrupt
        makes all groups write a checkpoint first.
        """
        try:
            with self._changed:
                self._awaited = {task.folder for task in tasks}
                given = self._done.union(*(batch.folders for batches in self._busy.values() for batch in batches))
                self._beside = deque(batch for batch in self._beside if not batch.folders & self._awaited)
                self._queue += _batches((task for task in tasks if task.folder not in given), placement)
                while self._pending():
                    self._dispatch()
                    self._changed.wait(POLL_SECONDS)
        except KeyboardInterrupt:
            self._stop()
            raise

    def waiting_workers(self) -> Sequence[Any]:
        """The actors of all workers that wait for a task."""
        with self._changed:
            return [worker for group in self._idle for worker in group.waiting_workers()]

    def release_for(self, *, cpus: int, gpu: bool) -> None:
        """End idle workers that hold CPUs or a GPU that something else needs."""
        with self._changed:
            for group in [group for group in self._idle if group.release_for(cpus=cpus, gpu=gpu)]:
                del self._idle[group]

    def leave_cpus(self, cpus: int) -> None:
        """End idle workers until so many of Ray's CPUs are held by none: for tasks that would wait for them for ever."""
        with self._changed:
            if not self._idle or (total := self._resources().ray_cpus) is None:
                return
            busy = sum(batches[0].placement.cost for batches in self._busy.values())
            while self._idle and busy + sum(one.cost for one in self._idle.values()) + cpus > total:
                self._idle.popitem()[0].close()

    def cut_short(self) -> None:
        """Have idle workers end soon when they are closed, whatever else they were lent for."""
        with self._changed:
            for group in self._idle:
                group.cut_short()

    def close(self) -> None:
        """End all workers; those that train beside others write a checkpoint first."""
        self._stop()
        with self._changed:
            _at_once([group.close for group in (*self._idle, *self._busy)])
            self._idle.clear()

    def _pending(self) -> bool:
        """True while there is something to wait for. Raises the first error once no group trains."""
        if self._error is None:
            return not self._awaited <= self._done
        if self._busy:
            return True
        error, self._error = self._error, None
        raise error

    def _dispatch(self) -> None:
        """Start every batch that may start now."""
        while (batch := self._next()) is not None:
            group = self._take_group(batch.placement)
            self._busy[group] = [batch]
            threading.Thread(target=self._work, args=(group, batch), name="raykd-group", daemon=True).start()

    def _next(self) -> TaskBatch | None:
        """Take the next batch for a group of its own; None when it has to wait."""
        if self._error is not None:
            return None
        running = [batches[0].placement for batches in self._busy.values()]
        if self._queue:
            placement = self._queue[0].placement
            free = sum(one.shape == placement.shape for one in running) < placement.parallel
            return self._queue.popleft() if free else None
        if self._beside and not self._awaited <= self._done and self._resources().holds([*running, self._beside[0].placement]):
            return self._beside.popleft()
        return None

    def _more(self, group: Group) -> Sequence[TrainTask]:
        """Take the next batch for a group that trains its last one. A group that is waited for takes no other tasks."""
        with self._changed:
            mine = self._busy[group]
            source = self._queue or (self._beside if not mine[-1].folders & self._awaited else None)
            ended = self._error is not None or self._awaited <= self._done
            if ended or not source or source[0].placement.shape != mine[0].placement.shape:
                return ()
            mine.append(source.popleft())
            return mine[-1].tasks

    def _take_group(self, placement: Placement) -> Group:
        """An idle group, or a new one, for which idle ones of another shape end."""
        for group, other in self._idle.items():
            if other.shape == placement.shape:
                del self._idle[group]
                return group
        _at_once([group.close for group in self._idle])
        self._idle.clear()
        return self._build(placement)

    def _work(self, group: Group, first: TaskBatch) -> None:
        """Train a batch, and others that follow it, in one group."""
        error: BaseException | None = None
        try:
            group.run(first.tasks, self._record, lambda: self._more(group))
        except BaseException as found:  # of any type: raised in the thread that waits
            error = found
        with self._changed:
            batches = self._busy.pop(group)
            if error is None:
                self._done.update(*(batch.folders for batch in batches))
            else:
                self._error = self._error or error
                self._clear()
            self._idle[group] = first.placement
            self._changed.notify_all()

    def _record(self, name: str, event: TrainingEvent) -> None:
        """Pass on one event at a time: they come from several threads."""
        with self._speaking:
            self._on_event(name, event)

    def _clear(self) -> None:
        self._queue.clear()
        self._beside.clear()

    def _stop(self) -> None:
        """Have all workers that train write a checkpoint and end, at the same time."""
        with self._changed:
            self._clear()
            busy = list(self._busy)
        if busy:
            _at_once([partial(group.stop, self._record) for group in busy])
            with self._changed:
                self._changed.wait_for(lambda: not self._busy, timeout=END_SECONDS)


def _at_once(calls: Sequence[Callable[[], None]]) -> None:
    """Make calls that wait for workers at the same time."""
    if calls:
        with ThreadPoolExecutor(len(calls), thread_name_prefix="raykd-groups") as pool:
            list(pool.map(lambda call: call(), calls))


def _batches(tasks: Iterable[TrainTask], placement: Placement) -> list[TaskBatch]:
    return [TaskBatch(tuple(batch), placement) for _, batch in groupby(tasks, key=same_group)]
