"""Targets from a live teacher or from the store: equal targets and gradients, and a choice by what each costs."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from raykd.data.tokenised_set import TokenisedSet
from raykd.trainers.features.stored_states import TIMED_BATCHES, Cost, storing_pays
from tests.unit.metakd.features import gradients, make_batch
from tests.unit.metakd.tasks import train
from tests.unit.metakd.worlds import save_model
from tests.unit.trainers.features.teachers import HEADS, assert_same, cached, made, part


@HEADS
def test_records_are_what_the_teacher_says_under_any_padding(heads: int) -> None:
    _, objective = made(heads)
    teacher = cached(objective)
    teacher(part(make_batch(padded_length=16), [1, 4]))
    for length in (16, 12, 24):
        batch = make_batch(padded_length=length)
        assert_same(teacher(batch), teacher.live(batch), batch)


@HEADS
def test_gradients_are_the_same_either_way(heads: int) -> None:
    model, objective = made(heads)
    stored = dataclasses.replace(objective, teacher=cached(objective))
    batch = make_batch()
    live = gradients(model, objective(model, batch).per_row.sum())
    for _ in ("first met", "read back"):
        again = gradients(model, stored(model, batch).per_row.sum())
        torch.testing.assert_close(again, live, rtol=1e-4, atol=1e-7)


def test_a_row_is_computed_once() -> None:
    _, objective = made()
    teacher = cached(objective)
    seen: list[int] = []
    live, batch = teacher.live, make_batch()
    teacher.live = lambda some: (seen.extend(some.row_ids[:, 1].tolist()), live(some))[1]  # type: ignore[assignment]  # a stand-in of the method
    for rows in ([0, 1, 2], [2, 3], [3, 0], [5, 4]):
        teacher(part(batch, rows))
    assert seen == [0, 1, 2, 3, 5, 4]
    assert len(teacher(make_batch(rows=0)).logits) == 1, "the row that stands in for none has no record"


def stated_clock() -> Callable[[Any], float]:
    """A clock by which the live teacher takes 4 seconds, writing 2 and reading 1."""
    ticks = iter(
        [moment for start in range(0, 10 * TIMED_BATCHES, 10) for moment in (start, start + 4, start + 6, start + 7, start + 8)]
    )
    return lambda _: float(next(ticks))


@pytest.mark.parametrize(("uses", "chosen"), [(9, "stored"), (1, "live")])
def test_the_choice_is_told_and_kept(uses: int, chosen: str) -> None:
    _, objective = made()
    told: list[Any] = []
    teacher = cached(objective, "auto", report=told.append)
    teacher.uses = uses
    teacher.clock = stated_clock()
    expected = objective.teacher(make_batch())
    for _ in range(TIMED_BATCHES + 2):
        assert_same(teacher(make_batch()), expected, make_batch())
    assert [(one.chosen, one.seconds) for one in told] == [(chosen, {"live": 4, "write": 2, "read": 1, "student": 2})]
    assert teacher.store.choice == chosen
    assert teacher.store.has(make_batch()).all() == (chosen == "stored"), "what is not read is not kept"


def test_records_that_do_not_fit_the_disk_are_not_made(monkeypatch: pytest.MonkeyPatch) -> None:
    _, objective = made()
    teacher = cached(objective, "auto")
    teacher.uses, teacher.clock = 9, stated_clock()  # with which the test above stores them
    monkeypatch.setattr("raykd.trainers.features.stored_states.DISK_SHARE", 1e-12)
    for _ in range(TIMED_BATCHES):
        teacher(make_batch())
    assert teacher.store.choice == "live"


@pytest.mark.parametrize(
    ("cost", "uses", "workers", "expected"),
    [
        (Cost(live=1.0, write=0.1, read=0.1, student=1.0), 1, 1, False),
        (Cost(live=1.0, write=0.1, read=0.1, student=1.0), 3, 1, True),
        (Cost(live=0.1, write=0.1, read=0.1, student=1.0), 9, 1, False),
        (Cost(live=1.0, write=0.1, read=0.1, student=1.0), 3, 8, False),  # a worker seldom meets a row again
        (Cost(live=1.0, write=0.1, read=0.1, student=1.0), 90, 8, True),
    ],
)
def test_records_pay_when_rows_come_again(cost: Cost, uses: float, workers: int, expected: bool) -> None:
    assert storing_pays(cost, uses, workers) == expected


def test_a_training_from_records_ends_with_the_same_student(rows: TokenisedSet, model: str, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    from raykd.config.metakd_objectives import MetaDistillationObjective

    student = save_model(tmp_path / "student", hidden=8, layers=2, heads=1)
    ends = []
    for source in ("live", "stored", "auto"):
        objective = MetaDistillationObjective(
            teacher=model, domain_loss_weight=0, expertise=False, teacher_states=source, trainings=3
        )
        task = train(tmp_path / source, student, rows, objective)
        ends.append(load_file(Path(task.model_folder, "model.safetensors")))
    for name, value in ends[0].items():
        for other in ends[1:]:
            torch.testing.assert_close(other[name], value, rtol=1e-3, atol=1e-4)
    records = [json.loads(line) for line in Path(task.history).read_text().splitlines()]
    (told,) = [record for record in records if record["event"] == "teacher_states"]
    assert told["chosen"] in {"live", "stored"}
    assert set(told["seconds"]) == {"live", "write", "read", "student"}
