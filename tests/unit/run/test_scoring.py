"""Actors that live through all scoring of a run."""

from collections.abc import Callable
from typing import Any

import pytest
import torch

from raykd.config import ComputeConfig
from raykd.data.kept_actors import LentWorkers
from raykd.predict.import_scorer import import_scorer
from raykd.run import scoring
from raykd.run.scoring import ScoringActors, report_compute
from raykd.trainers.events import Ended, StepMetrics
from tests.training_events import step_metrics


class Actors:
    """Stands for :class:`raykd.data.kept_actors.KeptActors`; records what is asked of it."""

    def __init__(self, count: int, *, preload: Callable[[], None]) -> None:
        self.count, self.preload = count, preload
        self.asked: list[str] = []

    def start(self) -> None:
        self.asked.append("start")

    def close(self) -> None:
        self.asked.append("close")


def step(number: int) -> StepMetrics:
    return step_metrics(number, total_steps=100)


@pytest.fixture
def local_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "is_local_ray", lambda: True)
    monkeypatch.setattr(scoring, "KeptActors", Actors)


STAGES = ("teacher", "logits")
CPU = ComputeConfig(use_gpu=False, prediction_actors=2)


@pytest.mark.usefixtures("local_ray")
def test_actors_start_near_the_end_of_the_last_training_and_stay() -> None:
    actors = ScoringActors(CPU, STAGES)
    kept: Any = actors.for_scoring(())
    heard: list[str] = []
    listen = actors.listening(lambda name, _: heard.append(name))
    actors.expect(["no kd", "kd"], workers=1)
    for name, number in [("no kd", 99), ("kd", 79)]:
        listen(name, step(number))
    assert kept.asked == [], "another training comes after it, or it is not near its end"
    listen("no kd", Ended(step=100, best=None, best_step=100))
    listen("kd", step(79))
    assert kept.asked == []
    for number in (80, 81, 100):
        listen("kd", step(number))
    assert kept.asked == ["start"]
    assert len(heard) == 7, "every event is passed on"
    assert actors.for_scoring(()) is kept
    assert kept.count == 2
    assert kept.preload is import_scorer
    actors.close()
    assert kept.asked == ["start", "close"]
    assert actors.for_scoring(()) is not kept


@pytest.mark.usefixtures("local_ray")
def test_trainings_that_no_scoring_follows_start_nothing() -> None:
    actors = ScoringActors(CPU, ["teacher"])
    kept: Any = actors.for_scoring(())
    actors.expect(["teacher"], workers=1)
    actors.listening(lambda *_: None)("teacher", step(100))
    assert kept.asked == []


@pytest.mark.usefixtures("local_ray")
def test_training_workers_that_wait_score_in_place_of_actors() -> None:
    actors = ScoringActors(CPU, STAGES)
    lent = actors.for_scoring(["a", "b", "c"])
    assert isinstance(lent, LentWorkers)
    assert lent._actors == ["a", "b"], "as many as the job says"
    kept: Any = actors.for_scoring(["a"])
    assert isinstance(kept, Actors), "too few of them"
    assert lent._spare is kept
    actors.expect(["teacher"], workers=2)
    actors.listening(lambda *_: None)("teacher", step(100))
    assert kept.asked == [], "nothing starts beside a training for which its workers are enough"


def test_a_cluster_and_a_gpu_have_no_idle_actors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scoring, "is_local_ray", lambda: False)
    assert ScoringActors(CPU, STAGES).for_scoring(()) is None
    monkeypatch.setattr(scoring, "is_local_ray", lambda: True)
    assert ScoringActors(ComputeConfig(use_gpu=True), STAGES).for_scoring(()) is None


@pytest.mark.parametrize("attention", ["auto", "padded", "unpadded"])
def test_models_score_without_padding_where_the_job_says_so(attention: str, monkeypatch: pytest.MonkeyPatch) -> None:
    compute = ComputeConfig.model_validate({"use_gpu": False, "attention": attention})
    asked: list[bool] = []
    monkeypatch.setattr(scoring, "wait_for_resources", lambda *_, **__: None)
    for name in ("score", "score_locally"):
        monkeypatch.setattr(scoring, name, lambda _, *, unpadded, **__: asked.append(unpadded) or [])
    scoring.score_models([], report_compute(compute))
    scoring.score_in_process([], compute, torch.device("cpu"))
    assert asked == [attention == "unpadded"] * 2
