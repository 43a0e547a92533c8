"""The training loop stops before the update, under every engine, and says where the number came from."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.distributed as dist
from torch import nn

from raykd.data.batch import Batch
from raykd.data.step_stream import StepRows
from raykd.errors import TrainingError
from raykd.trainers.event_log import EventLog
from raykd.trainers.events import NonFinite, TrainingEvent
from raykd.trainers.objective import Objective, ObjectiveOutput
from tests.distributed.tiny_training import (
    BATCH_ROWS,
    KINDS,
    NanGradient,
    full_state,
    make_engine,
    plain_trainer,
    planned_batches,
)
from tests.helpers import run_distributed

FIRST_STEP, BROKEN_STEP, TOTAL_STEPS = 1, 3, 5
"""Gradient shares, which ask for a model with named logits, are measured in step 0; it is left out."""
CASES = ("loss of rank 1", "loss of all", "gradient of rank 1")


class Breaking(Objective):
    """Cross entropy, until one step."""

    def __init__(self, case: str) -> None:
        self.case = case
        self.step = -1

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        assert batch.labels is not None
        logits = model(batch.input_ids, extra=self.step % 2 == 0)
        here = self.step == BROKEN_STEP and (self.case == "loss of all" or dist.get_rank() == 1)
        if here and self.case == "gradient of rank 1":
            logits = NanGradient.apply(logits)
        loss = nn.functional.cross_entropy(logits, batch.labels, reduction="none")
        other = loss * math.nan if here and self.case.startswith("loss") else loss
        return ObjectiveOutput({"ce": loss * batch.valid, "other": torch.where(batch.valid, other, 0.0)})


def body() -> dict[str, dict[str, Any]]:
    return {kind: {case: stopped(kind, case) for case in CASES} for kind in KINDS}


def stopped(kind: str, case: str) -> dict[str, Any]:
    """Run into the nan; the state of a run that was never to reach it, beside the state after the error."""
    engine = make_engine(kind)
    objective = Breaking(case)

    def batches(rows: StepRows) -> list[Batch]:
        objective.step = rows.step
        return planned_batches(rows.step)

    heard: list[TrainingEvent] = []
    trainer = plain_trainer(engine, objective, batches, EventLog(listeners=(heard.append,)), steps=TOTAL_STEPS)
    before: Any = {}

    def rows() -> Iterator[StepRows]:
        for step in range(FIRST_STEP, TOTAL_STEPS):
            if step == BROKEN_STEP:
                before.update(full_state(engine))
            yield StepRows(step, 0, BATCH_ROWS[step], 8, pa.table({}))

    message = "no error"
    close, after = engine.close, {}
    engine.close = lambda: (after.update(full_state(engine)), close())  # type: ignore[method-assign]  # a stand-in of the method
    try:
        list(trainer.run(rows()))
    except TrainingError as error:
        message = str(error)
    found = [str(event) for event in heard if isinstance(event, NonFinite)]
    return {"before": before, "after": after, "message": message, "found": found}


@pytest.fixture(scope="module")
def results() -> list[dict[str, dict[str, Any]]]:
    return run_distributed(body, 2)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_rank_stops_with_the_weights_of_the_step_before(
    kind: str, case: str, results: list[dict[str, dict[str, Any]]]
) -> None:
    expected = {
        "loss of rank 1": ["other = nan on rank 1"],
        "loss of all": ["other = nan on rank 0", "other = nan on rank 1"],
        "gradient of rank 1": ["gradient"],
    }[case]
    for rank in results:
        seen = rank[kind][case]
        for part in [f"step {BROKEN_STEP + 1}", "before the update", *expected]:
            assert part in seen["message"]
        assert "ce = " not in seen["message"]
        assert seen["message"].startswith(f"step {BROKEN_STEP + 1}: {'; '.join(seen['found'])}. ")
        assert sorted(seen["after"]) == sorted(seen["before"])
        for name, value in seen["before"].items():
            np.testing.assert_array_equal(seen["after"][name], value, err_msg=name)
    assert all(np.isfinite(value).all() for value in results[0][kind][case]["after"].values())
