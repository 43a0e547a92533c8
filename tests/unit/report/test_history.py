import json
from pathlib import Path

import pytest

from raykd.errors import DataError
from raykd.report.history import MAX_POINTS, read_curves
from raykd.trainers.events import CheckpointSaved, Evaluated, GradientShares, StepMetrics
from tests.training_events import step_metrics, write_events


def train(step: int, **terms: float) -> StepMetrics:
    return step_metrics(step, terms=terms)


def test_events_become_series(tmp_path: Path):
    path = write_events(
        tmp_path / "history.jsonl",
        [
            train(1, kd_kl=0.5, ce=0.25),
            GradientShares(step=1, shares={"kd_kl": 0.7, "ce": 0.3}),
            train(2, kd_kl=0.25, ce=0.125),
            Evaluated(step=2, metrics={"accuracy": 0.75}, best=True),
            CheckpointSaved(step=2),
        ],
    )
    curves = read_curves(path, seed=3)
    assert curves.seed == 3
    assert curves.terms.steps == (1, 2)
    assert curves.terms.values == {"kd_kl": (0.5, 0.25), "ce": (0.25, 0.125)}
    assert (curves.metrics.steps, curves.metrics.values) == ((2,), {"accuracy": (0.75,)})
    assert curves.shares.values == {"kd_kl": (0.7,), "ce": (0.3,)}


def test_a_step_repeated_after_a_restart_counts_once(tmp_path: Path):
    path = write_events(tmp_path / "h", [train(1, ce=1.0), train(2, ce=9.0), train(2, ce=2.0), train(3, ce=3.0)])
    assert read_curves(path, seed=1).terms.values == {"ce": (1.0, 2.0, 3.0)}


def test_long_histories_are_averaged_to_few_points(tmp_path: Path):
    steps = 10 * MAX_POINTS
    path = write_events(tmp_path / "h", [train(step, ce=float(step)) for step in range(1, steps + 1)])
    terms = read_curves(path, seed=1).terms
    assert len(terms.steps) == len(terms.values["ce"]) == MAX_POINTS
    assert terms.steps[0] == terms.values["ce"][0] == pytest.approx(5.5)
    assert sum(terms.values["ce"]) / MAX_POINTS == pytest.approx((steps + 1) / 2)


def test_terms_that_come_and_go_leave_gaps(tmp_path: Path):
    path = write_events(tmp_path / "h", [train(1, ce=1.0), train(2, ce=1.0, kd=2.0), train(3, kd=float("nan"))])
    assert read_curves(path, seed=1).terms.values == {"ce": (1.0, 1.0, None), "kd": (None, 2.0, None)}


def test_an_empty_history_has_no_points(tmp_path: Path):
    curves = read_curves(write_events(tmp_path / "h", []), seed=None)
    assert curves.terms.steps == curves.metrics.steps == ()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "h:2 is not a JSON record"),
        ("[1]", "h:2 is a list, not a record"),
        ('{"event": "eval", "step": 3, "best": true}', "h:2: a record of event 'eval' lacks metrics"),
        ('{"event": "lunch", "step": 3}', "h:2: event = 'lunch' is not one of start,"),
    ],
)
def test_what_is_no_record_is_named_with_its_line(tmp_path: Path, line: str, message: str):
    (tmp_path / "h").write_text(json.dumps(train(1, ce=1.0).to_json()) + "\n" + line + "\n")
    with pytest.raises(DataError, match=message):
        read_curves(str(tmp_path / "h"), seed=1)
