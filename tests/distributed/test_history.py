"""A history file that the first worker cannot write ends the training of all workers."""

from collections.abc import Iterator
from unittest import mock

import pyarrow as pa
import torch.distributed as dist
from torch import nn

from raykd.data import storage
from raykd.data.batch import Batch
from raykd.data.step_stream import StepRows
from raykd.errors import ResourceError
from raykd.trainers.event_log import EventLog
from raykd.trainers.objective import Objective, ObjectiveOutput
from tests.distributed.tiny_training import BATCH_ROWS, make_engine, plain_trainer, planned_batches
from tests.helpers import run_distributed

STEPS = 3


class CrossEntropy(Objective):
    """Cross entropy of the tiny model."""

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        assert batch.labels is not None
        loss = nn.functional.cross_entropy(model(batch.input_ids, extra=False), batch.labels, reduction="none")
        return ObjectiveOutput({"ce": loss * batch.valid})


def body() -> str:
    def batches(rows: StepRows) -> list[Batch]:
        return planned_batches(rows.step)

    def rows() -> Iterator[StepRows]:
        for step in range(1, STEPS):  # gradient shares, which ask for a model with named logits, are measured in step 0
            yield StepRows(step, 0, BATCH_ROWS[step], 8, pa.table({}))

    def full_disk(path: str, data: bytes) -> None:
        raise ResourceError(f"{path}: No space left on device")

    events = EventLog("history.jsonl") if dist.get_rank() == 0 else EventLog()
    trainer = plain_trainer(make_engine("torch"), CrossEntropy(), batches, events, steps=STEPS)
    with mock.patch.object(storage, "write_bytes", full_disk):
        try:
            list(trainer.run(rows()))
        except ResourceError as error:
            return str(error)
    return "no error"


def test_a_history_that_cannot_be_written_is_an_error_of_all_workers() -> None:
    assert run_distributed(body, 2) == ["history.jsonl: No space left on device"] * 2
