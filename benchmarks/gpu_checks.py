"""Correctness on a device: loss and gradients as on a CPU, both engines, bf16, resuming, and one wait a step."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch

from benchmarks.gpu_loops import ENGINES, build_trainer
from benchmarks.gpu_rows import Shape, draw_lengths, steps
from raykd.config.training import Precision
from raykd.data.step_stream import StepRows
from raykd.trainers.context import local_context
from raykd.trainers.events import StepMetrics, TrainingEvent
from raykd.trainers.fine_tune import FineTune
from raykd.trainers.precision import without_tf32

STEPS, BATCH = 6, 8
LIMITS: dict[Precision, float] = {"fp32": 1e-3, "bf16": 5e-2}
"""Largest relative difference of losses and gradient norms from the CPU's in fp32."""
Curve = list[tuple[float, float]]
"""Loss and gradient norm of each step."""


def correctness(shape: Shape, device: torch.device) -> list[dict[str, Any]]:
    """Every check with its name, whether it passed, and the measured difference."""
    rows = list(steps(draw_lengths("sst2", STEPS * BATCH, limit=32), batch=BATCH, vocabulary=shape.vocabulary, limit=32))
    with without_tf32():
        expected = _curve(shape, rows, "torch", "fp32", torch.device("cpu"))
        found = [
            _compare(
                f"{engine}, {precision}: losses and gradient norms as on a CPU",
                expected,
                _curve(shape, rows, engine, precision, device),
                limit,
            )
            for engine in ENGINES
            for precision, limit in LIMITS.items()
        ]
        found += [
            _compare(
                f"torch, {precision}, unpadded: losses and gradient norms as on a CPU with padding",
                expected,
                _curve(shape, rows, "torch", precision, device, unpadded=True),
                limit,
            )
            for precision, limit in LIMITS.items()
        ]
        found += [_resumed(shape, rows, engine, device) for engine in ENGINES]
        if device.type == "cuda":
            found += [_waits(shape, rows, engine, device) for engine in ENGINES]
            found.append(_waits(shape, rows, "torch", device, unpadded=True))
    return found


def _curve(
    shape: Shape,
    rows: Sequence[StepRows],
    engine: str,
    precision: Precision,
    device: torch.device,
    *,
    unpadded: bool = False,
    restart_at: int | None = None,
    around_step: Callable[[], Any] = nullcontext,
) -> Curve:
    """Train on all rows; with ``restart_at`` in two engines, the second of which loads the state of the first."""
    curve: Curve = []

    def listen(event: TrainingEvent) -> None:
        if isinstance(event, StepMetrics):
            curve.append((event.loss, event.grad_norm))

    with local_context(device.type) as context:

        def build() -> Any:
            return build_trainer(
                shape.build(dropout=0.0), FineTune(), engine=engine, precision=precision, context=context, unpadded=unpadded,
                listeners=(listen,),
            )  # fmt: skip

        trainer = build()
        for number, one in enumerate(rows):
            if number == restart_at:
                state = {name: value for name, value in trainer.engine.state() if value is not None}
                updates = trainer.engine.updates
                trainer.engine.close()
                trainer = build()
                trainer.engine.load_state(state.__getitem__, updates=updates)
            trainer.engine.module.train()
            with around_step():
                trainer._take_step(dataclasses.replace(one, step=number))
        trainer.engine.close()
    return curve


def _compare(name: str, expected: Curve, found: Curve, limit: float) -> dict[str, Any]:
    pairs = [pair for step in zip(expected, found, strict=True) for pair in zip(*step, strict=True)]
    difference = max(abs(one - other) / max(abs(one), 1e-9) for one, other in pairs)
    return {
        "check": name,
        "passed": math.isfinite(difference) and difference <= limit,
        "difference": difference,
        "limit": limit,
    }


def _resumed(shape: Shape, rows: Sequence[StepRows], engine: str, device: torch.device) -> dict[str, Any]:
    whole, halves = (_curve(shape, rows, engine, "fp32", device, restart_at=at) for at in (None, STEPS // 2))
    result = _compare(f"{engine}: resumed training goes on as an uninterrupted one", whole, halves, LIMITS["fp32"])
    return result | {
        "bit_for_bit": whole == halves,
        "bits_repeat_without_a_restart": whole == _curve(shape, rows, engine, "fp32", device),
    }


@contextmanager
def _no_waiting() -> Any:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


def _waits(
    shape: Shape, rows: Sequence[StepRows], engine: str, device: torch.device, *, unpadded: bool = False
) -> dict[str, Any]:
    """Run steps in which every wait for the device but the trainer's own is an error."""

    def read(values: torch.Tensor) -> list[float]:
        torch.cuda.set_sync_debug_mode("default")
        found: list[float] = values.tolist()
        torch.cuda.set_sync_debug_mode("error")
        return found

    name = f"{engine}, unpadded" if unpadded else engine
    result: dict[str, Any] = {"check": f"{name}: a step waits for the device once", "passed": True}
    try:
        with mock.patch("raykd.trainers.trainer.read_device", read):
            _curve(shape, rows, engine, "bf16" if unpadded else "fp32", device, unpadded=unpadded, around_step=_no_waiting)
    except RuntimeError as error:
        result |= {"passed": False, "error": str(error).splitlines()[0]}
    return result
