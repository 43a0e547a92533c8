"""Locks for trials that need the same teacher: one trial makes it while the others wait."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from raykd.config import ComputeConfig
from raykd.run.parallel_groups import Group
from raykd.tune.trial_record import SharedWorkCount
from raykd.tune.trial_teacher import TrialTeacher

Lock = Callable[[str], AbstractContextManager[None]]
"""Waits until no other trial holds the lock of this name, then holds it."""


def no_lock(_: str) -> AbstractContextManager[None]:
    """Return a lock that never waits, for a trial that shares nothing."""
    return nullcontext()


class LockTable:
    """Actor that holds the locks. A holder that asks again, since its process was lost, is admitted at once."""

    def __init__(self) -> None:
        self._holders: dict[str, int] = {}
        self._ended: set[int] = set()
        self._changed = asyncio.Condition()

    async def acquire(self, name: str, holder: int) -> None:
        """Wait for a lock and take it."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._holders.get(name, holder) == holder or holder in self._ended)
            if holder not in self._ended:
                self._holders[name] = holder

    async def release(self, name: str) -> None:
        """Release a lock."""
        async with self._changed:
            self._holders.pop(name, None)
            self._changed.notify_all()

    async def release_all(self, holder: int) -> None:
        """Release every lock of a trial that has ended."""
        async with self._changed:
            self._ended.add(holder)
            self._holders = {name: one for name, one in self._holders.items() if one != holder}
            self._changed.notify_all()


class TeacherLocks:
    """The lock table, reachable from the whole cluster."""

    def __init__(self) -> None:
        import ray

        self._table: Any = ray.remote(num_cpus=0)(LockTable).remote()

    @contextmanager
    def lock(self, holder: int, name: str) -> Iterator[None]:
        """Hold the lock ``name`` for the trial ``holder``."""
        import ray

        ray.get(self._table.acquire.remote(name, holder))
        try:
            yield
        finally:
            ray.get(self._table.release.remote(name))

    def release_all(self, holder: int) -> None:
        """Release every lock of a trial that has ended, successfully or not."""
        self._table.release_all.remote(holder)


def make_teacher_in_group(teacher: TrialTeacher, group: Group, compute: ComputeConfig) -> Iterator[SharedWorkCount]:
    """Train a trial's teacher in a worker group, then score its rows on the CPUs or GPUs that the group releases."""
    from raykd.predict import ScoreJob
    from raykd.run.scoring import score_models

    def export(jobs: list[ScoreJob]) -> None:
        group.close()
        score_models(jobs, compute.model_copy(update={"prediction_actors": compute.min_workers}))

    yield from teacher.make(lambda task: group.run([task], lambda *_: None), lambda jobs: export(list(jobs)))
