"""A training's threads follow from its model and rows, and are those of the process again when it has ended."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch

from raykd.data.tokenised_set import TokenisedSet
from raykd.trainers import arithmetic, cpu_threads
from tests.unit.run.tasks import TORCH, Make, task_of, train

CHANGES = TORCH | {"teacher__training__max_steps": 1, "compute__cpus_per_worker": 2}


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def start(experiment: Make, **changes: Any) -> dict[str, Any]:
    history = train(task_of(experiment(**CHANGES, **changes)))
    return next(record for record in history if record["event"] == "start")


def test_a_small_step_has_one_thread_and_a_larger_one_all(experiment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    found = start(experiment, name="small")
    assert (found["threads"], found["cpus"]) == (1, 2)
    monkeypatch.setattr(cpu_threads, "FLOP_PER_THREAD", 1.0)
    assert start(experiment, name="large")["threads"] == 2


def test_a_number_in_the_job_decides(experiment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    assert start(experiment, name="two", compute__threads=2)["threads"] == 2
    monkeypatch.setattr(cpu_threads, "FLOP_PER_THREAD", 1.0)
    assert start(experiment, name="one", compute__threads=1)["threads"] == 1


def test_the_work_is_that_of_the_largest_micro_batch_at_the_mean_length(
    experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[float] = []

    def step_flop(model: Any, *, tokens: float, teacher: Any) -> float:
        assert teacher is None
        seen.append(tokens)
        return 0.0

    monkeypatch.setattr(arithmetic, "step_flop", step_flop)
    for size in (None, 3):
        start(experiment, name=f"of-{size}", teacher__training__batch_size=8, teacher__training__micro_batch_size=size)
    whole, cut = seen
    rows = TokenisedSet.open(task_of(experiment(**CHANGES, name="mean")).train)
    assert whole == pytest.approx(8 * float(rows.lengths(0).mean()))
    assert whole / cut == pytest.approx(8 / 3)
