"""Interface between the trainer and an engine; ``build_engine.py`` lists the engines.

One optimiser step of the trainer, written with the methods below (``scale = world_size / global row count``)::

    for last, batch in ...:                                    # the same number of micro-batches on every rank
        with engine.autocast():
            output = objective(engine.model, batch)
        engine.accumulate(valid_sum * scale, boundary=last)
    norm = engine.reduce_gradients()                           # on the device, the same on every rank
    values = torch.stack([*term_sums, norm]).tolist()          # the step's only device-to-host read
    if all finite: engine.step(lr, max_grad_norm=1.0)          # else raise TrainingError: nothing has been updated
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class ParameterState:
    """One tensor of a model with its AdamW moments: fp32, full shape, on the CPU.

    ``exp_avg`` and ``exp_avg_sq`` are None for frozen parameters and for buffers.
    """

    weight: Tensor
    exp_avg: Tensor | None = None
    exp_avg_sq: Tensor | None = None


class Engine(Protocol):
    """Backward, gradient averaging, AdamW and state of one model on all ranks.

    Weights and moments are fp32. Each method marked *collective* is called by every rank, in the same order.
    The gradients of the ranks are averaged, so a loss is scaled by ``world_size / global row count`` beforehand; then
    N ranks with uneven slices have one process's gradients. A rank without rows runs one row that is not valid: transformers
    refuses a batch of no rows.
    A parameter that got no gradient counts as having a zero one: every trainable parameter takes part in every step.
    """

    kind: str
    """``torch`` or ``deepspeed-zero0`` ... ``deepspeed-zero3``; recorded in checkpoints."""
    model: nn.Module
    """The module that an objective calls in training; may be called several times before one ``accumulate``.

    Collective under ZeRO 3. A model with extra trainable modules is one ``nn.Module`` whose ``forward`` reaches them all.
    """
    module: nn.Module
    """The module that was given, for evaluation under ``no_grad`` and for its configuration.

    Under ZeRO 3 its forward is collective too (every rank makes the same number of calls), and its parameters are empty
    outside of it: read weights through ``state``.
    """
    device: torch.device
    shards_parameters: bool
    """A parameter is whole only while a forward or backward pass uses it, so no gradient can be taken inside of one."""

    def autocast(self) -> AbstractContextManager[Any]:
        """Context for forward passes, training and evaluation: bf16 autocast, or nothing with fp32."""

    def accumulate(self, loss: Tensor, *, boundary: bool) -> None:
        """Backward of a scalar loss, added to the gradients; ``boundary`` marks the last micro-batch of the step. *Collective.*

        The engine multiplies by nothing: ``loss`` is scaled already.
        """

    def reduce_gradients(self) -> Tensor:
        """Average the gradients over the ranks; return their global L2 norm before clipping. *Collective.*

        Called once a step, after the accumulate with ``boundary=True``. The norm is a 0-dim fp32 tensor on ``device``, the
        same on every rank, nan or inf if any gradient of any rank is. Nothing is read by the host.
        """

    def step(self, lr: float, *, max_grad_norm: float) -> None:
        """Clip by ``min(1, max_grad_norm / (norm + 1e-6))`` (never when 0), AdamW update, clear gradients. *Collective.*

        Uses the norm of the ``reduce_gradients`` before it, on the device. The caller has looked at that norm: a non-finite
        one must not come here.
        """

    @property
    def updates(self) -> int:
        """Optimiser steps behind the moments (AdamW's ``step``): those made here plus those loaded."""

    def state(self, *, moments: bool = True) -> Iterator[tuple[str, ParameterState | None]]:
        """Every parameter and persistent buffer by its name in ``module``, one at a time. *Collective.*

        Rank 0 gets the state, the others None; every rank consumes the iterator to its end. The others hold one gathered tensor
        at a time. ``moments=False`` gathers weights alone. A tied parameter comes once, under its first name.
        """

    def load_state(self, read: Callable[[str], ParameterState], *, updates: int) -> None:
        """Set every parameter, buffer and moment from ``read(name)``, and AdamW's step to ``updates``. *Collective.*

        Each rank reads by itself, one name at a time. Raises CheckpointError when a shape does not fit.
        """

    def close(self) -> None:
        """Release hooks and gradient memory; the engine is not used after. ``module`` stays usable except under ZeRO 3."""
