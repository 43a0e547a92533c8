"""An actor between the driver and the training workers: tasks go one way, records and results the other."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from raykd.errors import RaykdError, ResourceError
from raykd.trainers.events import TrainingEvent

ANSWER_SECONDS = 300
"""Seconds within which the board answers: at first its process starts, beside those of all workers."""


def ask(answer: Any) -> Any:
    """Wait for the task queue's reply to a call. Raises ResourceError when it is late, or the actor has died."""
    import ray
    from ray.exceptions import ActorDiedError, GetTimeoutError

    try:
        return ray.get(answer, timeout=ANSWER_SECONDS)
    except GetTimeoutError:
        raise ResourceError(
            f"waited {ANSWER_SECONDS} s for the run's board, a process between the command and the training workers; see that "
            "the command's machine has memory for it, and that the nodes of the workers reach it. The same command continues"
        ) from None
    except ActorDiedError:
        raise ResourceError(
            "the run's board, a process between the command and the training workers, was lost; see that the command's machine "
            "has memory for it. The same command continues"
        ) from None


@dataclass(frozen=True)
class QueueUpdate:
    """Reply to the driver's poll."""

    events: list[tuple[str, TrainingEvent]]
    """Names of tasks and events of their trainings, since the last time."""
    done: int
    """Tasks that are finished."""
    failure: tuple[type[RaykdError], str] | None
    """Why a task cannot be finished."""
    silent_s: float
    """Seconds since a worker was heard of."""


class TaskQueue:
    """An actor between the driver and the workers: an append-only list of tasks, and what is said of them."""

    def __init__(self) -> None:
        self._tasks: list[dict[str, Any]] = []
        self._done: set[int] = set()
        self._closed = False
        self._failure: tuple[type[RaykdError], str] | None = None
        self._events: list[tuple[str, TrainingEvent]] = []
        self._changed = asyncio.Event()
        self._stopping = False
        self._heard = time.monotonic()

    async def submit(self, tasks: list[dict[str, Any]]) -> None:
        """Append tasks."""
        self._tasks.extend(tasks)
        self._changed.set()

    async def close(self) -> None:
        """No more tasks come: workers that ask for one return."""
        self._closed = True
        self._changed.set()

    async def stop(self) -> None:
        """Ask the workers to write a checkpoint and return."""
        self._stopping = True
        await self.close()

    async def listen(self) -> bool:
        """Called now and then by the first worker, which shows that there is one; whether to stop."""
        self._heard = time.monotonic()
        return self._stopping

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

    async def record(self, name: str, event: TrainingEvent) -> None:
        """Pass on an event of a training."""
        self._events.append((name, event))

    async def news(self) -> QueueUpdate:
        """Events, finished tasks and failure since the last call."""
        events, self._events = self._events, []
        return QueueUpdate(events, len(self._done), self._failure, time.monotonic() - self._heard)
