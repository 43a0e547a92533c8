"""Lines of text about trials and their errors."""

import traceback
from collections.abc import Callable

import pytest
import torch
from ray.exceptions import RayTaskError

from raykd.tune.trial_record import TrialRecord
from raykd.tune.trial_text import error_text, trial_sentence


def allocate() -> None:
    torch.empty(2**60)


def without_a_message() -> None:
    raise MemoryError


def speaks_of_memory() -> None:
    raise ValueError("a column of memory.py is missing")


@pytest.mark.parametrize(
    ("fail", "start"),
    [
        (allocate, "out of memory; [enforce fail at alloc_cpu"),
        (without_a_message, "out of memory"),
        (speaks_of_memory, "a column of memory.py is missing"),
    ],
)
def test_running_out_of_memory_is_named_and_nothing_else_is_taken_for_it(fail: Callable[[], None], start: str) -> None:
    with pytest.raises((RuntimeError, MemoryError, ValueError)) as caught:
        fail()
    trace = "".join(traceback.format_exception(caught.value))
    assert error_text(RayTaskError("train", trace, caught.value)).startswith(start)


def test_a_trial_is_described_by_its_values_and_its_metric() -> None:
    record = TrialRecord(index=3, values={"student.objective.alpha": 0.25}, status="stopped", value=0.8125, step=40)
    told = "trial 3 (alpha 0.25): accuracy 0.8125, stopped at step 40"
    assert trial_sentence(record, None, "accuracy") == told
    assert trial_sentence(record, record, "accuracy") == f"{told}; the best so far"
