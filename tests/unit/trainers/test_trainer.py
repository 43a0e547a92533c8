"""A step of the trainer waits for the device once, at its end, whatever the model and the objective."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch

from raykd.config import DeepSpeedEngineConfig, EngineConfig, TorchEngineConfig
from raykd.data.side_tables import logits_array
from raykd.data.step_stream import StepRows
from raykd.models import load_classifier, set_attention
from raykd.trainers import trainer as trainer_module
from raykd.trainers.checkpoint import Checkpoints
from raykd.trainers.checkpointer import Checkpointer
from raykd.trainers.context import WorkerContext, local_context
from raykd.trainers.control import ControlRequests
from raykd.trainers.engines.build_engine import build_engine
from raykd.trainers.event_log import EventLog
from raykd.trainers.fine_tune import FineTune
from raykd.trainers.logit_kd import VanillaKD
from raykd.trainers.model_selection import ModelSelection
from raykd.trainers.model_writer import ModelWriter
from raykd.trainers.objective import Objective
from raykd.trainers.schedule import Schedule
from raykd.trainers.step_batches import StepBatches
from raykd.trainers.trainer import Trainer
from tests.device_reads import DeviceReads
from tests.unit.models.architectures import LABELS, pretrained

STEPS = 3
ENGINES = {"torch": TorchEngineConfig(), "deepspeed": DeepSpeedEngineConfig()}


def feed() -> Iterator[StepRows]:
    """Steps whose rows are padded, all of one length, and padded again."""
    draw = np.random.default_rng(0)
    for step, lengths in enumerate([(3, 8, 5, 8), (8, 8, 8, 8), (2, 7, 8, 8)]):
        table = pa.table(
            {
                "shard": pa.array([0] * 4, pa.int32()),
                "row": pa.array(range(4 * step, 4 * step + 4), pa.int64()),
                "length": pa.array(lengths, pa.int32()),
                "input_ids": pa.array([draw.integers(5, 15, length).tolist() for length in lengths], pa.list_(pa.int32())),
                "label": pa.array([0, 1, 1, 0], pa.int32()),
                "logits": logits_array(draw.normal(size=(4, 2)).astype(np.float32)),
            }
        )
        yield StepRows(step=step, epoch=0, num_rows=4, longest=8, table=table)


def build(
    folder: Path, kind: str, objective: Objective, engine: EngineConfig, context: WorkerContext, *, unpadded: bool = False
) -> Trainer:
    model = load_classifier(pretrained(folder / "model", kind), labels=LABELS)
    set_attention(model, unpadded=unpadded)
    control, checkpoints = ControlRequests(), Checkpoints(str(folder / "checkpoints"), identity="one", context=context)
    return Trainer(
        engine=build_engine(engine, model, weight_decay=0.01, precision="fp32", device=context.device),
        objective=objective,
        context=context,
        batches=StepBatches(world_size=1, pad_token_id=0, with_token_types=False, micro_batch_size=2, unpadded=unpadded),
        schedule=Schedule(total_steps=STEPS, evaluate_every=STEPS, peaks=((0.0, 1e-3),), warmup_ratio=0.0, shape="constant"),
        model_selection=ModelSelection("accuracy"),
        evaluator=None,
        writer=ModelWriter(
            model=model, tokenizer=None, context=context, folder=str(folder), model_folder=str(folder / "out"), keep_best=False
        ),
        checkpointer=Checkpointer(
            checkpoints=checkpoints, source=checkpoints, context=context, control=control, every_steps=None, every_seconds=1e9
        ),
        control=control,
        events=EventLog(),
        seed=1,
        max_grad_norm=1.0,
    )


@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("objective", [FineTune(), VanillaKD()], ids=["fine_tune", "vanilla_kd"])
@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "modernbert"])
@pytest.mark.parametrize("unpadded", [False, True], ids=["padded", "unpadded"])
def test_a_step_reads_the_device_once(
    *,
    unpadded: bool,
    kind: str,
    objective: Objective,
    engine: EngineConfig,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lines: list[int] = []
    monkeypatch.setattr(trainer_module, "read_device", lambda values: (lines.append(1), values.tolist())[1])
    with local_context() as context:
        trainer = build(tmp_path, kind, objective, engine, context, unpadded=unpadded)
        trainer.engine.module.train()
        with DeviceReads() as reads:
            for rows in feed():
                trainer._take_step(rows)
        trainer.engine.close()
    assert len(lines) == STEPS
    assert not reads.counts


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: a CPU has nothing to wait for")
@pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
@pytest.mark.parametrize("unpadded", [False, True], ids=["padded", "unpadded"])
def test_a_step_on_a_gpu_waits_at_its_end_alone(
    *, unpadded: bool, engine: EngineConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(values: torch.Tensor) -> Any:
        torch.cuda.set_sync_debug_mode("default")
        found = values.tolist()
        torch.cuda.set_sync_debug_mode("error")
        return found

    monkeypatch.setattr(trainer_module, "read_device", read)
    with local_context("cuda") as context:
        trainer = build(tmp_path, "bert", VanillaKD(), engine, context, unpadded=unpadded)
        trainer.engine.module.train()
        for rows in feed():
            torch.cuda.set_sync_debug_mode("error")
            try:
                trainer._take_step(rows)
            finally:
                torch.cuda.set_sync_debug_mode("default")
