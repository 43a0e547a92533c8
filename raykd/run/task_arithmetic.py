"""Arithmetic of a task on its worker: TF32, compiled passes, and threads."""

from typing import Any

import torch

from raykd.data.batch import micro_batch_rows
from raykd.data.batch_plan import padded_length
from raykd.data.tokenised_set import TokenisedSet
from raykd.models import check_compiler, compile_training
from raykd.run.task import TrainTask
from raykd.trainers.context import WorkerContext
from raykd.trainers.cpu_threads import choose_threads, step_flop
from raykd.trainers.precision import allow_tf32


def set_arithmetic(task: TrainTask, model: Any, context: WorkerContext) -> None:
    """Apply ``tf32`` to the process and ``compile`` to the model. Raises ConfigError where a CPU cannot compile."""
    allow_tf32(task.tf32)
    if task.compile:
        check_compiler(on_gpu=context.device.type == "cuda")
        compile_training(model, min_rows=_rows(task, context)[0])


def set_threads(task: TrainTask, rows: TokenisedSet, model: Any, teacher: Any, context: WorkerContext) -> int:
    """Set the threads of a training on a CPU, at most those that the process has. Returns the number that it had.

    ``teacher``: a model that runs in every step, or None. The mean length of the first row group stands for all rows.
    """
    available = torch.get_num_threads()
    if context.device.type == "cpu":
        length = padded_length(round(float(rows.lengths(0).mean())))
        flop = step_flop(model, tokens=_rows(task, context)[1] * length, teacher=teacher)
        torch.set_num_threads(min(task.threads or choose_threads(flop, available=available), available))
    return available


def _rows(task: TrainTask, context: WorkerContext) -> tuple[int, int]:
    training = task.training
    return micro_batch_rows(training.batch_size, world=context.world_size, micro_batch_size=training.micro_batch_size)
