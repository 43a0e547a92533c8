"""Waits on Ray end: where somebody else holds the CPUs, an error says what was waited for; work itself may take its time."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raykd.data.ray_map import run_job
from raykd.data.watchdog import LIMIT_S, limit_waits
from raykd.errors import ResourceError
from raykd.predict import ScoreJob, score
from raykd.run import task_queue
from tests.ray.cpus import every_cpu_taken
from tests.unit.predict.random_rows import make_model, make_prepared

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]


@pytest.fixture(autouse=True)
def usual_limit() -> Iterator[None]:
    yield
    limit_waits(LIMIT_S)


def test_jobs_and_actors_that_find_no_cpu_end_with_what_they_waited_for(tmp_path: Path) -> None:
    job = ScoreJob(make_model(tmp_path / "model"), make_prepared(tmp_path / "set").path, str(tmp_path / "logits"))
    limit_waits(3)
    with every_cpu_taken():
        for what, start in {
            "a CPU to count rows": lambda: dict(run_job(str, [1, 2], in_process=False, to="count rows")),
            "an actor of 1 CPU to score rows": lambda: score([job]),
        }.items():
            with pytest.raises(
                ResourceError, match=rf"waited 3 s \(compute\.start_timeout_s\) for {what}: .* 0 of the .* 4 CPUs"
            ):
                start()
    limit_waits(LIMIT_S)
    assert dict(run_job(str, [1, 2], in_process=False, to="count rows")) == {0: "1", 1: "2"}


def test_work_that_takes_longer_than_the_limit_is_no_wait() -> None:
    def slow(seconds: float) -> float:
        time.sleep(seconds)
        return seconds

    assert dict(run_job(slow, [0.0, 0.1], in_process=False, to="sleep")) == {0: 0.0, 1: 0.1}  # the processes are up now
    limit_waits(3)
    assert dict(run_job(slow, [5.0], in_process=False, to="sleep")) == {0: 5.0}


def test_a_task_queue_that_does_not_answer_or_is_lost_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import ray

    one = ray.remote(num_cpus=0)(task_queue.TaskQueue).remote()
    assert task_queue.ask(one.join.remote(0, "a worker", "a controller", "a placement group")) == 0
    monkeypatch.setattr(task_queue, "ANSWER_SECONDS", 1)
    with pytest.raises(ResourceError, match="waited 1 s for the run's task queue"):
        task_queue.ask(one.task.remote(0))
    ray.kill(one)

    def ask_for_a_while() -> None:
        for _ in range(100):  # it may answer for a moment yet
            task_queue.ask(one.join.remote(0, "a worker", "a controller", "a placement group"))
            time.sleep(0.1)

    with pytest.raises(ResourceError, match=r"the run's task queue, .* was lost"):
        ask_for_a_while()
