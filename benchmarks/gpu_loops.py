"""Loops that the GPU benchmark times: raykd's trainer, a bare loop over batches on the device, and scoring."""

import dataclasses
import itertools
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from raykd.config import DeepSpeedEngineConfig, EngineConfig, TorchEngineConfig
from raykd.config.training import Precision
from raykd.data.batch import Batch, micro_batches
from raykd.data.step_stream import StepRows
from raykd.losses import cross_entropy
from raykd.models import set_attention
from raykd.predict.scorer import forward
from raykd.trainers.auxiliary import with_modules
from raykd.trainers.checkpoint import Checkpoints
from raykd.trainers.checkpointer import Checkpointer
from raykd.trainers.context import WorkerContext
from raykd.trainers.control import ControlRequests
from raykd.trainers.engines.build_engine import build_engine
from raykd.trainers.event_log import EventLog, Listener
from raykd.trainers.fine_tune import FineTune
from raykd.trainers.model_selection import ModelSelection
from raykd.trainers.model_writer import ModelWriter
from raykd.trainers.objective import Objective
from raykd.trainers.optimizer import adamw, autocast_context
from raykd.trainers.schedule import Schedule
from raykd.trainers.step_batches import StepBatches
from raykd.trainers.trainer import Trainer

ENGINES: dict[str, EngineConfig] = {"torch": TorchEngineConfig(), "deepspeed": DeepSpeedEngineConfig()}
RATE, MAX_NORM = 1e-5, 1.0
WARM_UP, LEAST = 5, 4
"""Steps before the clock starts, and steps that are timed at least."""
MANY = 10**9


def wait_for(device: torch.device) -> None:
    """Wait for all work on the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


@dataclass
class Timer:
    """Hands out the numbers of steps, and times those after the warm-up."""

    seconds: float
    device: torch.device
    done: list[int] = field(default_factory=list)
    """Timed steps."""
    spent: float = 0.0
    """Seconds of the timed steps."""
    peak_bytes: int | None = None
    """Most memory of the device that tensors took; None on a CPU."""

    def numbers(self) -> Iterator[int]:
        """Numbers of steps until the time is over."""
        began = 0.0
        for number in itertools.count():
            if number == WARM_UP:
                wait_for(self.device)
                if self.device.type == "cuda":
                    torch.cuda.reset_peak_memory_stats(self.device)
                began = time.perf_counter()
            if number >= WARM_UP + LEAST and time.perf_counter() - began > self.seconds:
                break
            if number >= WARM_UP:
                self.done.append(number)
            yield number
        wait_for(self.device)
        self.spent = time.perf_counter() - began
        if self.device.type == "cuda":
            self.peak_bytes = torch.cuda.max_memory_allocated(self.device)


def collated(rows: StepRows, device: torch.device, *, unpadded: bool = False) -> Batch:
    """A step's rows as one batch on the device."""
    (batch,) = micro_batches(rows, world=1, micro_batch_size=None, pad_token_id=0, with_token_types=False, unpadded=unpadded)
    return batch.to(device)


def build_trainer(
    model: Any,
    objective: Objective,
    *,
    engine: str,
    precision: Precision,
    context: WorkerContext,
    unpadded: bool = False,
    listeners: Sequence[Listener] = (),
) -> Trainer:
    """Build raykd's trainer around a model, without evaluation and checkpoints."""
    set_attention(model, unpadded=unpadded)
    folder, control = tempfile.gettempdir(), ControlRequests()
    checkpoints = Checkpoints(f"{folder}/none", identity="none", context=context)
    return Trainer(
        engine=build_engine(
            ENGINES[engine],
            with_modules(model, objective.trainable),
            weight_decay=0.01,
            precision=precision,
            device=context.device,
        ),
        objective=objective,
        context=context,
        batches=StepBatches(world_size=1, pad_token_id=0, with_token_types=False, unpadded=unpadded),
        schedule=Schedule(total_steps=MANY, evaluate_every=MANY, peaks=((0.0, RATE),), shape="constant"),
        model_selection=ModelSelection("accuracy"),
        evaluator=None,
        writer=ModelWriter(model=model, tokenizer=None, context=context, folder=folder, model_folder=folder, keep_best=False),
        checkpointer=Checkpointer(
            checkpoints=checkpoints, source=checkpoints, context=context, control=control, every_steps=None, every_seconds=MANY
        ),
        control=control,
        events=EventLog(listeners=tuple(listeners)),
        seed=1,
        max_grad_norm=MAX_NORM,
        precision=precision,
        log_every=1,
    )


def train_with_raykd(
    model: Any,
    objective: Objective,
    rows: Sequence[StepRows],
    timer: Timer,
    *,
    engine: str,
    precision: Precision,
    context: WorkerContext,
    unpadded: bool = False,
) -> None:
    """Train with raykd's loop; collating and copying the rows is in the time."""
    trainer = build_trainer(model, objective, engine=engine, precision=precision, context=context, unpadded=unpadded)
    feed = (dataclasses.replace(rows[number % len(rows)], step=number) for number in timer.numbers())
    list(trainer.run(feed))


def train_bare(
    model: Any, rows: Sequence[StepRows], timer: Timer, *, precision: Precision, device: torch.device, compiled: bool = False
) -> None:
    """Train with nothing around it, on batches that lie on the device."""
    model = model.to(device).train()
    batches = [collated(one, device) for one in rows]
    optimizer = adamw(model, weight_decay=0.01)
    for group in optimizer.param_groups:
        group["lr"] = RATE
    run = torch.compile(model, dynamic=False) if compiled else model
    for number in timer.numbers():
        batch = batches[number % len(batches)]
        assert batch.labels is not None
        with autocast_context(precision, device):
            loss = cross_entropy(run(**batch.model_inputs()).logits, batch.labels).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        optimizer.zero_grad()
        loss.item()


def score(
    model: Any, rows: Sequence[StepRows], timer: Timer, *, precision: Precision, device: torch.device, unpadded: bool = False
) -> None:
    """Score rows as prediction actors do; collating and copying the rows is in the time."""
    set_attention(model, unpadded=unpadded)
    model = model.to(device).eval()
    with torch.inference_mode(), autocast_context(precision, device):
        for number in timer.numbers():
            forward(model, collated(rows[number % len(rows)], device, unpadded=unpadded))


def fine_tuning() -> Objective:
    """The objective of the matrix."""
    return FineTune()
