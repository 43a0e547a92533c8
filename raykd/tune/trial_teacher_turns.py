"""Trials that need the same teacher: one of them makes it, the others wait. And how a group of workers makes one."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from raykd.config import ComputeConfig
from raykd.run.worker_group import uses_gpu
from raykd.run.worker_groups import Group
from raykd.tune.trial_record import Work
from raykd.tune.trial_teacher import TrialTeacher

Turn = Callable[[str], AbstractContextManager[None]]
"""Waits until nobody else makes what is called so, and has others wait meanwhile."""


def at_once(_: str) -> AbstractContextManager[None]:
    """No waiting: there is nobody else."""
    return nullcontext()


class TurnTable:
    """An actor: who makes what. A holder that comes again, because its process was lost, is let in at once."""

    def __init__(self) -> None:
        self._holders: dict[str, int] = {}
        self._gone: set[int] = set()
        self._changed = asyncio.Condition()

    async def take(self, name: str, holder: int) -> None:
        """Wait for a turn."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._holders.get(name, holder) == holder or holder in self._gone)
            if holder not in self._gone:
                self._holders[name] = holder

    async def leave(self, name: str) -> None:
        """End a turn."""
        async with self._changed:
            self._holders.pop(name, None)
            self._changed.notify_all()

    async def forget(self, holder: int) -> None:
        """Somebody will not come again: what was its turn is the next one's."""
        async with self._changed:
            self._gone.add(holder)
            self._holders = {name: one for name, one in self._holders.items() if one != holder}
            self._changed.notify_all()


class Turns:
    """The table, from anywhere in the cluster."""

    def __init__(self) -> None:
        import ray

        self._table: Any = ray.remote(num_cpus=0)(TurnTable).remote()

    @contextmanager
    def of(self, holder: int, name: str) -> Iterator[None]:
        """A holder's turn at a name."""
        import ray

        ray.get(self._table.take.remote(name, holder))
        try:
            yield
        finally:
            ray.get(self._table.leave.remote(name))

    def forget(self, holder: int) -> None:
        """A trial has ended, well or not."""
        self._table.forget.remote(holder)


def teach_in_group(lesson: TrialTeacher, group: Group, compute: ComputeConfig) -> Iterator[Work]:
    """A lesson through a group of workers, whose places score the rows when they are gone."""
    from raykd.predict import ScoreJob, score

    def export(jobs: list[ScoreJob]) -> None:
        group.close()
        use_gpu = uses_gpu(compute)
        score(
            jobs,
            actors=compute.min_workers,
            cpus_per_actor=compute.cpus_per_worker,
            precision=compute.precision,
            use_gpu=use_gpu,
        )

    yield from lesson.teach(lambda task: group.run([task], lambda *_: None), lambda jobs: export(list(jobs)))
