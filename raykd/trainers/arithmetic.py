"""Arithmetic of a training on its worker: TF32, compiled passes, padded lengths, and threads."""

from collections.abc import Sequence
from typing import Any

import torch

from raykd.data.padding import PaddingRule, padding_on
from raykd.data.tokenised_set import TokenisedSet
from raykd.models import check_compiler, compile_training, max_sequence_length
from raykd.trainers.context import WorkerContext
from raykd.trainers.cpu_threads import choose_threads, step_flop
from raykd.trainers.precision import allow_tf32


def set_arithmetic(model: Any, context: WorkerContext, *, tf32: bool, compiled: bool, min_rows: int) -> None:
    """Apply ``tf32`` to the process and compile the model's passes over micro-batches of ``min_rows`` rows or more.

    Raises ConfigError where a CPU cannot compile.
    """
    allow_tf32(tf32)
    if compiled:
        check_compiler(on_gpu=context.device.type == "cuda")
        compile_training(model, min_rows=min_rows)


def padding_rule(models: Sequence[Any], context: WorkerContext, *, compiled: bool = False) -> PaddingRule:
    """The padded lengths of batches on this worker that all ``models`` take."""
    limits = [max_sequence_length(getattr(one, "config", None)) for one in models]
    return padding_on(context.device, limit=min((one for one in limits if one is not None), default=None), compiled=compiled)


def set_threads(
    model: Any, rows: TokenisedSet, context: WorkerContext, *, max_rows: int, teacher: Any, threads: int | None
) -> int:
    """Set the threads of a training on a CPU, at most those that the process has. Returns the number that it had.

    ``max_rows``: rows of the largest micro-batch. ``teacher``: a model that runs in every step, or None. ``threads``: the
    number that the job names; None chooses one. The mean length of the first row group stands for all rows.
    """
    available = torch.get_num_threads()
    if context.device.type == "cpu":
        tokens = max_rows * float(rows.lengths(0).mean())
        flop = step_flop(model, tokens=tokens, teacher=teacher)
        torch.set_num_threads(min(threads or choose_threads(flop, available=available), available))
    return available
