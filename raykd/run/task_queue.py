"""The task queue: an actor that hands the driver's tasks to training workers, and their events to the driver."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from raykd.errors import RaykdError, ResourceError
from raykd.trainers.events import TrainingEvent

ANSWER_SECONDS = 300
"""Seconds within which the queue answers; its process starts at the same time as those of all workers."""


def ask(answer: Any) -> Any:
    """Wait for the task queue's reply to a call. Raises ResourceError when it is late, or the actor has died."""
    import ray
    from ray.exceptions import GetTimeoutError

    from raykd.lost_processes import ended_process_errors

    try:
        return ray.get(answer, timeout=ANSWER_SECONDS)
    except GetTimeoutError:
        raise ResourceError(
            f"waited {ANSWER_SECONDS} s for the run's task queue, a process that hands tasks to the training workers; see that "
            "the command's machine has memory for it, and that the nodes of the workers reach it. The same command continues"
        ) from None
    except ended_process_errors():  # one that cannot be reached for a while is an error that a worker may repeat
        raise ResourceError(
            "the run's task queue, a process that hands tasks to the training workers, was lost; see that the command's "
            "machine has memory for it. The same command continues"
        ) from None


@dataclass(frozen=True)
class QueueUpdate:
    """Reply to the driver's poll."""

    events: list[tuple[str, TrainingEvent]]
    """Names of tasks and events of their trainings."""
    done: int
    """Number of finished tasks."""
    failure: tuple[type[RaykdError], str] | None
    """Error of a task that cannot be finished."""
    seconds_since_heartbeat: float
    """Seconds since the last heartbeat of a worker."""


class TaskQueue:
    """An append-only list of tasks, their events and their results; runs as a Ray actor."""

    def __init__(self) -> None:
        self._tasks: list[dict[str, Any]] = []
        self._done: set[int] = set()
        self._closed = False
        self._failure: tuple[type[RaykdError], str] | None = None
        self._events: list[tuple[str, TrainingEvent]] = []
        self._changed = asyncio.Event()
        self._stopping = False
        self._owners: tuple[Any, Any] | None = None
        self._workers: dict[int, Any] = {}
        self._last_heartbeat = time.monotonic()

    async def join(self, rank: int, worker: Any, controller: Any, placement_group: Any) -> int:
        """Note a worker's actor and what holds it. Returns the index of the first unfinished task, where it starts."""
        self._workers[rank] = worker
        self._owners = controller, placement_group
        return next((index for index in range(len(self._tasks)) if index not in self._done), len(self._tasks))

    async def owners(self) -> tuple[Any, Any] | None:
        """Ray Train's actor that owns the workers, and the placement group of their CPUs; None before they have started."""
        return self._owners

    async def workers(self) -> list[Any]:
        """The actors of the workers that have joined, by rank."""
        return [self._workers[rank] for rank in sorted(self._workers)]

    async def submit(self, tasks: list[dict[str, Any]]) -> None:
        """Append tasks."""
        self._tasks.extend(tasks)
        self._changed.set()

    async def close(self) -> None:
        """Accept no more tasks: workers that ask for one return."""
        self._closed = True
        self._changed.set()

    async def stop(self) -> None:
        """Ask the workers to write a checkpoint and return."""
        self._stopping = True
        await self.close()

    async def heartbeat(self) -> bool:
        """Note that the first worker is alive. Returns whether to stop."""
        self._last_heartbeat = time.monotonic()
        return self._stopping

    async def task(self, index: int, *, timeout_s: float = 20.0) -> dict[str, Any] | bool:
        """The task of an index; True while it may still come, False when it will not."""
        deadline = time.monotonic() + timeout_s
        while index >= len(self._tasks) and not self._closed:
            self._changed.clear()
            try:
                await asyncio.wait_for(self._changed.wait(), deadline - time.monotonic())
            except TimeoutError:
                return True
        return self._tasks[index] if index < len(self._tasks) else False

    async def finish(self, index: int) -> None:
        """Mark a task as finished."""
        self._done.add(index)

    async def fail(self, kind: type[RaykdError], message: str) -> None:
        """Report an error that every further attempt would repeat."""
        self._failure = self._failure or (kind, message)

    async def record(self, name: str, event: TrainingEvent) -> None:
        """Pass on an event of a training."""
        self._events.append((name, event))

    async def poll(self) -> QueueUpdate:
        """Return and clear the changes since the last call."""
        events, self._events = self._events, []
        return QueueUpdate(events, len(self._done), self._failure, time.monotonic() - self._last_heartbeat)
