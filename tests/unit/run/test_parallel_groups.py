"""Groups of workers side by side: who gets what, and what an error leaves."""

import threading
from collections.abc import Sequence

import pytest

from raykd.config import FineTuneConfig, TorchEngineConfig, TrainingConfig
from raykd.errors import TrainingError
from raykd.run.parallel_groups import ParallelGroups
from raykd.run.task import TrainTask
from raykd.run.worker_group import OnEvent
from raykd.trainers.events import Ended, Stopped


def task(domain: str, seed: int) -> TrainTask:
    return TrainTask(
        name=f"{domain} {seed}", folder=f"{domain}/{seed}", model="m", labels=("a", "b"), train=domain, validation=None,
        objective=FineTuneConfig(), training=TrainingConfig(), seed=seed, engine=TorchEngineConfig(), precision="fp32", key="",
    )  # fmt: skip


TASKS = [task(domain, seed) for domain in ("books", "dvd", "kitchen") for seed in (1, 2)]


class Here:
    """A group whose trainings are nothing; two meet before either continues, so that both must be at work."""

    def __init__(self, meeting: threading.Barrier | None = None, broken: str = "") -> None:
        self.trained: list[list[str]] = []
        self.closed = False
        self._meeting, self._broken = meeting, broken

    def run(self, tasks: Sequence[TrainTask], on_event: OnEvent) -> None:
        if self._meeting is not None and not self.trained:
            self._meeting.wait(timeout=30)
        self.trained.append([one.name for one in tasks])
        for one in tasks:
            if one.name == self._broken:
                raise TrainingError(f"{one.name} is broken")
            on_event(one.name, Ended(step=1, best=None, best_step=0))

    def stop(self, on_event: OnEvent) -> None:
        on_event("stopped", Stopped(step=1))

    def release_for(self, *, cpus: int, gpu: bool) -> None:
        del cpus, gpu

    def close(self) -> None:
        self.closed = True


def test_one_group_gets_everything_in_order() -> None:
    made: list[Here] = []
    groups = ParallelGroups(lambda: (made.append(Here()), made[-1])[1], lambda _name, _entry: None)
    for _ in range(2):
        groups.run(TASKS, at_most=1)
    assert [one.trained for one in made] == [[[one.name for one in TASKS]] * 2], "the group stays up"
    groups.close()
    assert made[0].closed


def test_seeds_of_a_domain_stay_together() -> None:
    meeting, made, heard = threading.Barrier(2), [], []
    groups = ParallelGroups(lambda: (made.append(Here(meeting)), made[-1])[1], lambda name, _entry: heard.append(name))
    groups.run(TASKS, at_most=2)
    shares = sorted(share for one in made for share in one.trained)
    assert shares == [["books 1", "books 2"], ["dvd 1", "dvd 2"], ["kitchen 1", "kitchen 2"]]
    assert all(one.trained for one in made), "both were at work"
    assert sorted(heard) == [one.name for one in TASKS]
    groups.run(TASKS[:2], at_most=8)
    assert len(made) == 2, "no group is started for nothing"


def test_what_shares_nothing_goes_wherever_there_is_room() -> None:
    meeting, made = threading.Barrier(2), []
    groups = ParallelGroups(lambda: (made.append(Here(meeting)), made[-1])[1], lambda _name, _entry: None)
    groups.run(TASKS[:2], at_most=2, affinity=lambda one: one.folder)
    assert sorted(share for one in made for share in one.trained) == [["books 1"], ["books 2"]]


def test_an_error_is_raised_and_what_waits_is_left() -> None:
    meeting, made = threading.Barrier(2), []
    groups = ParallelGroups(lambda: (made.append(Here(meeting, "books 1")), made[-1])[1], lambda _name, _entry: None)
    with pytest.raises(TrainingError, match="books 1 is broken"):
        groups.run(TASKS, at_most=2)
