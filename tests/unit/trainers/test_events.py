"""Events survive their JSON form, which keeps the keys of ``history.jsonl``."""

import json
import pickle
from pathlib import Path

import pytest

from raykd.errors import DataError
from raykd.trainers.event_log import EventLog, read_history
from raykd.trainers.events import (
    EVENTS,
    CheckpointSaved,
    Ended,
    Evaluated,
    GradientShares,
    NonFinite,
    Resumed,
    Stopped,
    TeacherStatesChosen,
    TrainingEvent,
    Warned,
    event_from_json,
)
from tests.training_events import started, step_metrics

ALL: list[TrainingEvent] = [
    started(),
    Resumed(step=2),
    Resumed(step=2, source="elsewhere"),
    step_metrics(3),
    GradientShares(step=3, shares={"ce": 0.25, "kd_kl": 0.75}),
    Evaluated(step=3, metrics={"accuracy": 0.5}, best=True),
    CheckpointSaved(step=3),
    TeacherStatesChosen(step=0, chosen="live", seconds={"live": 1.0}, bytes=5, limit_bytes=9),
    Warned(step=0, message="look out"),
    NonFinite(step=4, quantity="loss", term="kd_kl", rank=1, value="nan"),
    Stopped(step=4),
    Ended(step=9, best=None, best_step=0),
    Ended(step=9, best=0.5, best_step=3, teacher_forwards=7),
]


@pytest.mark.parametrize("event", ALL, ids=lambda event: event.kind)
def test_an_event_comes_back_from_json_and_from_another_process(event: TrainingEvent) -> None:
    assert event_from_json(json.loads(json.dumps(event.to_json()))) == event
    assert pickle.loads(pickle.dumps(event)) == event


def test_every_class_is_tried_here() -> None:
    assert {type(event) for event in ALL} == set(EVENTS.values())


def test_the_keys_of_the_history_file() -> None:
    assert step_metrics(3).to_json() == {
        "event": "train", "step": 3, "epoch": 0, "total_steps": 100, "terms": {"ce": 0.5}, "loss": 0.5, "learning_rate": 1e-4,
        "grad_norm": 1.0, "rows_per_second": 10.0, "data_wait_s": 0.0,
    }  # fmt: skip
    assert Evaluated(step=3, metrics={"accuracy": 0.5}, best=True).to_json() == {
        "event": "eval", "step": 3, "metrics": {"accuracy": 0.5}, "best": True,
    }  # fmt: skip
    assert Ended(step=9, best=None, best_step=0).to_json() == {"event": "end", "step": 9, "best": None, "best_step": 0}
    assert Resumed(step=2).to_json() == {"event": "resumed", "step": 2}


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"event": "lunch", "step": 1}, "event = 'lunch' is not one of start, resumed"),
        ({"event": "eval", "step": 1, "best": True}, "lacks metrics"),
        ({"event": "stopped", "step": 1, "why": "told"}, "has why, which are not its fields"),
        ({"event": "stopped", "step": "one"}, "step = 'one' is not a number"),
    ],
)
def test_what_is_no_event_is_named(record: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        event_from_json(record)


def test_a_resumed_history_forgets_the_steps_that_are_repeated(tmp_path: Path) -> None:
    path = str(tmp_path / "history.jsonl")
    first = EventLog(path)
    for step in (1, 2, 3):
        first.record(step_metrics(step))
    first.flush()
    heard: list[TrainingEvent] = []
    second = EventLog(path, (heard.append,))
    second.resume(2)
    second.record(Resumed(step=2))
    second.flush()
    assert read_history(path) == [step_metrics(1), step_metrics(2), Resumed(step=2)]
    assert heard == [Resumed(step=2)]
