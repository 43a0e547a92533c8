"""Schedulers that hear again of an earlier run's trials decide as if they had seen them themselves."""

from dataclasses import dataclass

import pytest

from raykd.config.trial_schedulers import Asha, Median
from raykd.tune.schedulers import build_scheduler, replay
from raykd.tune.trial_record import TrialRecord
from tests.unit.tune.small_search import search


@dataclass(frozen=True)
class Trial:
    trial_id: str


class Controller:
    def get_live_trials(self) -> list[Trial]:
        return []


def past(index: int, height: float) -> TrialRecord:
    curve = tuple((step, height) for step in (10, 20, 30))
    return TrialRecord(index=index, values={}, status="finished", value=height, step=30, curve=curve)


@pytest.mark.parametrize("scheduler", [Asha(grace_steps=10, reduction=2), Median(grace_steps=10, min_trials=3)])
def test_what_ended_before_is_what_new_trials_are_measured_by(scheduler: Asha | Median) -> None:
    built = build_scheduler(search(scheduler=scheduler.model_dump()), total_steps=30)
    replay(built, [past(index, height) for index, height in enumerate((0.7, 0.8, 0.9))])
    decisions = {}
    for name, value in (("worse", 0.5), ("better", 0.95)):
        built.on_trial_add(Controller(), Trial(name))
        decisions[name] = built.on_trial_result(Controller(), Trial(name), {"step": 10, "value": value})
    assert decisions == {"worse": "STOP", "better": "CONTINUE"}


def test_time_is_optimiser_steps_and_a_whole_trial_is_not_stopped_at_its_end() -> None:
    built = build_scheduler(search(scheduler={"kind": "asha", "grace_steps": 10, "reduction": 2}), total_steps=30)
    built.on_trial_add(None, Trial("only"))
    assert [built.on_trial_result(None, Trial("only"), {"step": step, "value": 0.5}) for step in (5, 10, 30)] == [
        "CONTINUE"
    ] * 3
