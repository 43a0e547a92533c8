"""Groups of workers side by side: who gets what, and what an error leaves."""

import threading
import time
from collections.abc import Callable, Sequence

import pytest

from raykd.config import FineTuneConfig, TorchEngineConfig, TrainingConfig
from raykd.config.features import FeatureKDConfig
from raykd.errors import TrainingError
from raykd.placement import AvailableResources, Placement
from raykd.run.parallel_groups import ParallelGroups, same_group
from raykd.run.task import TrainTask
from raykd.run.worker_group import MoreTasks, OnEvent
from raykd.trainers.events import Ended, Stopped, TrainingEvent


def task(domain: str, seed: int) -> TrainTask:
    return TrainTask(
        name=f"{domain} {seed}", folder=f"{domain}/{seed}", model="m", labels=("a", "b"), train=domain, validation=None,
        objective=FineTuneConfig(), training=TrainingConfig(), seed=seed, engine=TorchEngineConfig(), precision="fp32", key="",
    )  # fmt: skip


TASKS = [task(domain, seed) for domain in ("books", "dvd", "kitchen") for seed in (1, 2)]


class Recorder:
    """Groups whose trainings are functions of the task, and what they did."""

    def __init__(
        self,
        train: Callable[[TrainTask], None] = lambda _: None,
        *,
        ahead: bool = False,
        available: int = 2,
        ray_cpus: int | None = None,
    ) -> None:
        self.train, self.ahead = train, ahead
        self.made: list[Here] = []
        self.heard: list[str] = []
        self.groups = ParallelGroups(self._build, self._hear, lambda: AvailableResources(available, ray_cpus=ray_cpus))

    def _build(self, placement: Placement) -> "Here":
        self.made.append(Here(self, placement))
        return self.made[-1]

    def _hear(self, name: str, _: TrainingEvent) -> None:
        self.heard.append(name)

    @property
    def trained(self) -> list[list[str]]:
        """Names of tasks by group."""
        return [group.trained for group in self.made]

    @property
    def names(self) -> list[str]:
        """Names of all tasks."""
        return [name for names in self.trained for name in names]


class Here:
    """A group that trains in the calling thread."""

    def __init__(self, recorder: Recorder, placement: Placement) -> None:
        self.recorder, self.placement = recorder, placement
        self.trained: list[str] = []
        self.closed = self.started = self.cut = False
        self.stopped = threading.Event()

    def start(self) -> None:
        self.started = True

    def run(self, tasks: Sequence[TrainTask], on_event: OnEvent, more: MoreTasks = tuple) -> None:
        waiting = list(tasks)
        while waiting:
            one = waiting.pop(0)
            if not waiting and self.recorder.ahead:
                waiting += more()
            self.trained.append(one.name)
            self.recorder.train(one)
            if self.stopped.is_set():
                raise TrainingError("the workers have ended")
            on_event(one.name, Ended(step=1, best=None, best_step=0))

    def stop(self, on_event: OnEvent) -> None:
        self.stopped.set()
        on_event("stopped", Stopped(step=1))

    def waiting_workers(self) -> list[str]:
        return list(self.trained[-1:])

    def release_for(self, *, cpus: int, gpu: bool) -> bool:
        del cpus
        return gpu

    def cut_short(self) -> None:
        self.cut = True

    def close(self) -> None:
        self.closed = True


ONE, TWO = Placement(1, 1, 1), Placement(2, 1, 1)


def meeting() -> Callable[[TrainTask], None]:
    """A training that lasts until another one is at work."""
    barrier = threading.Barrier(2)

    def train(_: TrainTask) -> None:
        barrier.wait(timeout=30)

    return train


def test_one_group_gets_everything_in_order_and_stays() -> None:
    here = Recorder()
    here.groups.run(TASKS[:3], ONE)
    here.groups.run(TASKS[3:], ONE)
    assert here.trained == [[one.name for one in TASKS]]
    assert here.groups.waiting_workers() == [TASKS[-1].name]
    here.groups.cut_short()
    assert here.made[0].cut
    here.groups.close()
    assert here.groups.waiting_workers() == []
    assert here.made[0].closed


@pytest.mark.parametrize(("ray_cpus", "left"), [(4, 2), (3, 2), (2, 1), (1, 0), (None, 2)])
def test_idle_workers_leave_a_cpu_to_other_tasks(ray_cpus: int | None, left: int) -> None:
    """The rows of a later model were never prepared where idle workers held every CPU of a caller's Ray."""
    here = Recorder(meeting(), ray_cpus=ray_cpus)
    here.groups.run(TASKS[:2], TWO)
    here.groups.leave_cpus(1)
    assert len(here.groups.waiting_workers()) == left
    assert sum(one.closed for one in here.made) == 2 - left


def test_groups_train_at_the_same_time_and_no_more_than_the_placement_says() -> None:
    here = Recorder(meeting(), ahead=True)
    here.groups.run(TASKS, TWO)
    assert len(here.made) == 2, "no group beyond the placement's"
    assert sorted(here.names) == sorted(here.heard) == [one.name for one in TASKS]
    here.groups.run(TASKS, TWO)
    assert len(here.heard) == len(TASKS), "a task that is done is not trained again"


def test_tasks_that_share_stored_states_stay_in_one_group() -> None:
    features = FeatureKDConfig(teacher="t", trainings=2)
    tasks = [one.model_copy(update={"objective": features}) for one in TASKS[:4]]
    assert [same_group(one) == same_group(tasks[0]) for one in tasks] == [True, True, False, False]
    assert same_group(TASKS[0]) != same_group(TASKS[1]), "others may train anywhere"
    here = Recorder(meeting())
    here.groups.run(tasks, TWO)
    assert sorted(here.trained) == [["books 1", "books 2"], ["dvd 1", "dvd 2"]]
    live = features.model_copy(update={"teacher_states": "live"})
    one, other = (one.model_copy(update={"objective": live}) for one in TASKS[:2])
    assert same_group(one) != same_group(other), "nothing is stored"


def test_an_idle_group_of_another_shape_ends_for_a_new_one() -> None:
    here = Recorder()
    here.groups.start(Placement(1, 2, 1))
    assert here.made[0].started
    here.groups.run(TASKS[:1], Placement(1, 2, 1))
    here.groups.run(TASKS[1:3], TWO)
    assert here.made[0].trained == [TASKS[0].name]
    assert here.made[0].closed
    assert not here.made[-1].closed


def test_other_tasks_train_beside_those_that_are_waited_for_and_no_longer() -> None:
    """The teacher trains until the first student beside it has ended; the second one is not begun without it."""
    teacher, students = TASKS[0], TASKS[1:3]
    ended = threading.Event()

    def train(one: TrainTask) -> None:
        if one is teacher:
            assert ended.wait(30)
        else:
            ended.set()
            time.sleep(0.05)

    here = Recorder(train, ahead=True)
    here.groups.train_beside(students, TWO)
    here.groups.run([teacher], ONE)
    assert here.made[0].trained == [teacher.name], "a group that is waited for takes nothing else"
    begun = here.names
    here.groups.run([*students, TASKS[3]], TWO)
    assert students[0].name in begun
    assert sorted(here.names) == [one.name for one in TASKS[:4]], "each once"


def test_nothing_trains_beside_where_no_cpu_is_free() -> None:
    here = Recorder(available=1)
    here.groups.train_beside(TASKS[1:3], ONE)
    here.groups.run(TASKS[:1], ONE)
    assert here.trained == [[TASKS[0].name]]
    here.groups.run(TASKS[1:3], ONE)
    assert here.trained == [[one.name for one in TASKS[:3]]]


def test_an_error_is_raised_after_what_runs_has_ended_and_what_waits_is_left() -> None:
    both = meeting()

    def train(one: TrainTask) -> None:
        both(one)
        if one is TASKS[0]:
            raise TrainingError(f"{one.name} is broken")
        time.sleep(0.05)

    here = Recorder(train)
    with pytest.raises(TrainingError, match="books 1 is broken"):
        here.groups.run(TASKS, TWO)
    assert here.heard == ["books 2"], "what ran at the same time is finished, the rest not begun"


def test_an_interrupt_stops_all_groups_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, ended = threading.Barrier(3), threading.Event()

    def train(_: TrainTask) -> None:
        begun.wait(30)
        ended.wait(30)

    here = Recorder(train)
    stopping = threading.Barrier(2, action=ended.set)
    monkeypatch.setattr(Here, "stop", lambda self, _: (self.stopped.set(), stopping.wait(30)))

    wait = here.groups._changed.wait

    def interrupted(seconds: float) -> bool:
        if ended.is_set():  # the wait for the groups to end
            return wait(seconds)
        here.groups._changed.release()  # as a wait does, for the threads that start
        begun.wait(30)
        here.groups._changed.acquire()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(here.groups._changed, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            here.groups.run(TASKS, TWO)
    assert [group.stopped.is_set() for group in here.made] == [True, True]
    here.groups.close()
    assert all(group.closed for group in here.made)
