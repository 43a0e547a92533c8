"""The end of a worker group: what is waited for, and for how long. Ray's own part is in tests/ray."""

import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import ray

from raykd.config import ComputeConfig
from raykd.run import worker_group
from raykd.run.task_queue import QueueUpdate
from raykd.run.worker_group import WorkerGroup


class Fit:
    """Stands for the queue actor and for ``fit``, whose thread lives until Ray would end it, or for some seconds."""

    def __init__(self, seconds: float = 60) -> None:
        self.owners: tuple[str, str] | None = ("controller", "placement group")
        self.ended = threading.Event()
        self.killed: list[str] = []
        self.waits: list[float] = []
        """Longest waits for the thread."""
        self.stops: list[int] = []
        self.submitted: list[Any] = []
        self._seconds = seconds

    def fit(self) -> None:
        self.ended.wait(self._seconds)

    def kill(self, actor: Any) -> None:
        if actor == "controller":
            self.killed.append(actor)
            self.ended.set()

    @property
    def queue(self) -> Any:
        calls: dict[str, Callable[..., Any]] = {
            "submit": self.submitted.extend,
            "close": lambda: None,
            "owners": lambda: self.owners,
            "stop": lambda: self.stops.append(1),
            "poll": lambda: QueueUpdate([], len(self.submitted), None, 0.0),
        }
        return SimpleNamespace(**{name: SimpleNamespace(remote=call) for name, call in calls.items()})


@pytest.fixture
def short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker_group, "ask", lambda answer: answer)
    monkeypatch.setattr(worker_group, "CUT_SECONDS", 0.2)
    monkeypatch.setattr(worker_group, "STOP_SECONDS", 20)


def started(fit: Fit, monkeypatch: pytest.MonkeyPatch) -> WorkerGroup:
    """A group whose workers are up."""
    monkeypatch.setattr(ray, "kill", fit.kill)
    monkeypatch.setattr(ray.util, "remove_placement_group", lambda _: None)
    group = WorkerGroup(ComputeConfig(use_gpu=False), storage="/tmp", name="x")
    group._queue, group._fit = fit.queue, worker_group._FitThread(fit.fit)
    group._fit.start()
    join = group._fit.join
    monkeypatch.setattr(group._fit, "join", lambda timeout: (fit.waits.append(timeout), join(timeout)))
    return group


@pytest.mark.usefixtures("short_waits")
def test_workers_whose_work_is_wanted_no_more_are_ended_by_force(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = Fit()
    group = started(fit, monkeypatch)
    group.cut_short()
    group.close()
    assert fit.killed == ["controller"]
    assert fit.waits == [worker_group.CUT_SECONDS, worker_group.STOP_SECONDS]


@pytest.mark.usefixtures("short_waits")
def test_workers_that_still_start_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Their thread called Ray after Ray's end, which ended the command with another exit code."""
    fit = Fit(seconds=1)
    fit.owners = None
    group = started(fit, monkeypatch)
    thread = group._fit
    group.cut_short()
    group.close()
    assert thread is not None
    assert not thread.is_alive()
    assert fit.waits == [worker_group.STOP_SECONDS]
    assert fit.killed == []


@pytest.mark.usefixtures("short_waits")
def test_workers_that_end_by_themselves_are_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    fit = Fit(seconds=0.5)
    started(fit, monkeypatch).close()
    assert fit.killed == []


@pytest.mark.usefixtures("short_waits")
@pytest.mark.parametrize("local", [True, False])
def test_workers_that_wait_for_tasks_are_ended_at_once_on_a_local_ray(local: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ray Train sees only every 2 s whether workers have ended."""
    monkeypatch.setattr(worker_group, "is_local_ray", lambda: local)
    fit = Fit(seconds=60 if local else 0.5)
    group = started(fit, monkeypatch)
    task: Any = SimpleNamespace(name="x", model_dump=lambda mode: {"mode": mode})  # all of a task that a group reads
    group.run([task], lambda *_: None)
    assert fit.submitted == [{"mode": "json"}]
    group.close()
    assert (fit.waits[0], fit.killed) == ((0.0, ["controller"]) if local else (worker_group.STOP_SECONDS, []))


@pytest.mark.usefixtures("short_waits")
def test_workers_that_never_start_are_stopped_once_and_not_waited_for_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stopped job has 60 s until Ray ends it; without a node its workers never start."""
    monkeypatch.setattr(worker_group, "STOP_SECONDS", 0.2)
    monkeypatch.setattr(worker_group, "FAILED_SECONDS", 0.1)
    fit = Fit()
    fit.owners = None
    group = started(fit, monkeypatch)
    for _ in range(2):
        group.stop(lambda *_: None)
    group.close()
    assert fit.stops == [1]
    assert fit.waits == [0.1]
    fit.ended.set()
