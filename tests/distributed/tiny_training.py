"""A tiny model, its planned rows, and a training step, for bodies that run on one or two ranks."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest import mock

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn

from raykd.config import DeepSpeedEngineConfig, EngineConfig, TorchEngineConfig
from raykd.data.batch import Batch
from raykd.data.step_stream import StepRows
from raykd.trainers.context import WorkerContext
from raykd.trainers.control import ControlRequests
from raykd.trainers.engines.build_engine import build_engine
from raykd.trainers.engines.deepspeed_engine import deepspeed_config
from raykd.trainers.engines.engine import Engine
from raykd.trainers.event_log import EventLog
from raykd.trainers.model_selection import ModelSelection
from raykd.trainers.objective import Objective
from raykd.trainers.schedule import Schedule
from raykd.trainers.trainer import Trainer

RELEASING = "deepspeed-zero3, releasing"
"""ZeRO 3 that frees every gathered weight after use, as it does with weights of more than 100,000 elements alone."""

OVERLAPPING = {1: "deepspeed-zero1, overlapping", 2: "deepspeed-zero2, overlapping"}
"""ZeRO 1 and 2 that reduce small buckets while backward runs, as they do on several GPUs alone."""
OFFLOADED = "deepspeed-zero2, offloaded"


def own_gradient(parameter: nn.Parameter) -> Any:
    return parameter.grad


def deepspeed_gradient(parameter: nn.Parameter) -> Any:
    import deepspeed

    return deepspeed.utils.safe_get_full_grad(parameter)


@dataclass(frozen=True)
class EngineCase:
    """An engine that every test of engines runs."""

    config: EngineConfig
    gradient: Callable[[nn.Parameter], Any] = own_gradient
    """Reads a parameter's averaged gradient in full, between backward and step; called on every rank."""


ENGINE_CASES: dict[str, EngineCase] = {
    "torch": EngineCase(TorchEngineConfig()),
    "deepspeed-zero0": EngineCase(DeepSpeedEngineConfig(zero_stage=0)),
    "deepspeed-zero1": EngineCase(DeepSpeedEngineConfig(zero_stage=1), deepspeed_gradient),
    "deepspeed-zero2": EngineCase(DeepSpeedEngineConfig(zero_stage=2), deepspeed_gradient),
    "deepspeed-zero3": EngineCase(DeepSpeedEngineConfig(zero_stage=3), deepspeed_gradient),
    RELEASING: EngineCase(DeepSpeedEngineConfig(zero_stage=3), deepspeed_gradient),
    **{
        name: EngineCase(DeepSpeedEngineConfig(zero_stage=stage), deepspeed_gradient)  # type: ignore[arg-type]  # a literal of 0 to 3
        for stage, name in OVERLAPPING.items()
    },
    OFFLOADED: EngineCase(DeepSpeedEngineConfig(zero_stage=2, offload_optimizer=True), deepspeed_gradient),
}
"""Each one by its engine's ``kind``; a new engine is one entry."""
ALL_KINDS = tuple(ENGINE_CASES)
KINDS = tuple(kind for kind in ALL_KINDS if kind not in {*OVERLAPPING.values(), OFFLOADED})
"""Those without settings that concern the gradients and the state alone."""
BATCH_ROWS = (7, 1, 5, 6, 4, 7, 3, 5)
"""Rows of each global batch; with two ranks the second one's slice is far smaller, and empty in step 1."""
MICRO_ROWS = 2
WEIGHT_DECAY = 0.1
MAX_GRAD_NORM = 0.3

State = dict[str, NDArray[np.float32]]


class Tiny(nn.Module):
    """Odd sizes (no rank count divides them), tied, frozen and unused parameters, one used in even steps only, a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(11, 5)
        self.again = nn.Embedding(11, 5)
        self.again.weight = self.embedding.weight
        self.norm = nn.LayerNorm(5)
        self.frozen = nn.Linear(5, 7).requires_grad_(False)
        self.hidden = nn.Linear(7, 7)
        self.sometimes = nn.Linear(7, 7)
        self.unused = nn.Linear(3, 3)
        self.head = nn.Linear(7, 3)
        self.register_buffer("scale", 0.5 + torch.rand(3))

    def forward(self, ids: Tensor, *, extra: bool) -> Tensor:
        embedded = self.norm(self.embedding(ids).mean(1) + self.again(ids[:, :2]).sum(1))  # [B, 5]
        hidden = torch.tanh(self.hidden(self.frozen(embedded)))  # [B, 7]
        if extra:
            hidden = hidden + torch.tanh(self.sometimes(hidden))
        return self.head(hidden) * self.scale  # [B, 3]


class NanGradient(torch.autograd.Function):
    """A finite value whose gradient is nan."""

    @staticmethod
    def forward(ctx: Any, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return torch.full_like(gradients[0], math.nan)


def make_model(seed: int = 0) -> Tiny:
    torch.manual_seed(seed)
    return Tiny()


def make_engine(kind: str, *, module: nn.Module | None = None, precision: Any = "fp32", seed: int = 0) -> Engine:
    """The engine of a kind around ``module``, or else around a new tiny model."""
    usual = deepspeed_config

    def changed(*args: Any, **kwargs: Any) -> dict[str, Any]:
        config = usual(*args, **kwargs)
        if kind == RELEASING:
            config["zero_optimization"]["param_persistence_threshold"] = 0
        if kind in OVERLAPPING.values():
            config["zero_optimization"] |= {"overlap_comm": True, "reduce_bucket_size": 16}
        return config

    with mock.patch("raykd.trainers.engines.deepspeed_engine.deepspeed_config", changed):
        return build_engine(
            ENGINE_CASES[kind].config,
            make_model(seed) if module is None else module,
            weight_decay=WEIGHT_DECAY,
            precision=precision,
            device=torch.device("cpu"),
        )


def batch_of(step: int) -> tuple[Tensor, Tensor]:
    """Token ids [B, 4] and labels [B] of a global batch."""
    generator = torch.Generator().manual_seed(1000 + step)
    rows = BATCH_ROWS[step]
    return torch.randint(0, 11, (rows, 4), generator=generator), torch.randint(0, 3, (rows,), generator=generator)


def micro_batches(step: int, rank: int, world: int) -> list[tuple[Tensor, Tensor, Tensor]]:
    """This rank's ids, labels and row weights; the same number of batches on every rank, dummy rows where rows run out."""
    ids, labels = batch_of(step)
    cut = len(ids) if world == 1 else math.ceil(0.7 * len(ids))
    counts = [cut] if world == 1 else [cut, len(ids) - cut]
    mine = slice(0, cut) if rank == 0 else slice(cut, None)
    ids, labels = ids[mine], labels[mine]
    batches = []
    for start in range(0, MICRO_ROWS * math.ceil(max(counts) / MICRO_ROWS), MICRO_ROWS):
        rows, targets = ids[start : start + MICRO_ROWS], labels[start : start + MICRO_ROWS]
        if len(rows):
            batches.append((rows, targets, torch.ones(len(rows))))
        else:
            batches.append((torch.zeros(1, 4, dtype=torch.long), torch.zeros(1, dtype=torch.long), torch.zeros(1)))
    return batches


def planned_batches(step: int) -> list[Batch]:
    """This rank's micro-batches of a step, as the trainer takes them."""
    return [
        Batch(ids, torch.ones_like(ids), None, labels, None, {}, weights > 0, torch.zeros(len(ids), 2, dtype=torch.long))
        for ids, labels, weights in micro_batches(step, dist.get_rank(), dist.get_world_size())
    ]


def backward(engine: Engine, step: int, *, world: int | None = None) -> Tensor:
    """All micro-batches of a step; the norm of their gradients."""
    rank, world = (dist.get_rank(), dist.get_world_size()) if world is None else (0, world)
    batches = micro_batches(step, rank, world)
    for number, (ids, labels, weights) in enumerate(batches, start=1):
        with engine.autocast():
            logits = engine.model(ids, extra=step % 2 == 0)
        rows = nn.functional.cross_entropy(logits.float(), labels, reduction="none")
        engine.accumulate((rows * weights).sum() * world / BATCH_ROWS[step], boundary=number == len(batches))
    return engine.reduce_gradients()


def rate(step: int) -> float:
    return 0.03 / (1 + step)


def train(engine: Engine, start: int, stop: int) -> list[float]:
    """Steps start to stop; the gradient norms."""
    norms = []
    for step in range(start, stop):
        norms.append(float(backward(engine, step)))
        engine.step(rate(step), max_grad_norm=MAX_GRAD_NORM)
    return norms


def weights(engine: Engine) -> State:
    """Every weight and buffer on rank 0, nothing elsewhere."""
    return {name: state.weight.numpy() for name, state in engine.state(moments=False) if state is not None}


def full_state(engine: Engine) -> State:
    """Weights and moments on rank 0."""
    tensors = {}
    for name, state in engine.state():
        for key in ("weight", "exp_avg", "exp_avg_sq"):
            if state is not None and getattr(state, key) is not None:
                tensors[f"{name}/{key}"] = getattr(state, key).numpy()
    return tensors


def gradients(engine: Engine) -> State:
    """Every averaged gradient in full, read between backward and step."""
    read = ENGINE_CASES[engine.kind].gradient
    named = [(name, p) for name, p in engine.module.named_parameters() if p.requires_grad]
    return {name: read(p).detach().numpy().copy() for name, p in named}


def plain_trainer(
    engine: Engine, objective: Objective, batches: Callable[[StepRows], list[Batch]], events: EventLog, *, steps: int
) -> Trainer:
    """A trainer of this rank without validation rows, checkpoints and saved models."""
    return Trainer(
        engine=engine,
        objective=objective,
        context=WorkerContext(dist.get_rank(), dist.get_world_size(), torch.device("cpu")),
        batches=batches,
        schedule=Schedule(total_steps=steps, evaluate_every=steps, peaks=((0.0, 0.01),), shape="constant"),
        model_selection=ModelSelection("accuracy"),
        evaluator=None,
        writer=mock.Mock(),
        checkpointer=mock.Mock(due=lambda step: False, wait=lambda: None, completed=lambda: None),
        control=ControlRequests(),
        events=events,
        seed=1,
        max_grad_norm=1.0,
    )
