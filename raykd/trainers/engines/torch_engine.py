"""The engine in plain PyTorch: gradients are averaged once a step, during the backward pass of the last micro-batch."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from raykd.config.training import Precision
from raykd.trainers import optimizer as shared
from raykd.trainers.engines.engine import ParameterState
from raykd.trainers.engines.gradient_buckets import GradientBuckets


class TorchEngine:
    """See :class:`raykd.trainers.engines.engine.Engine`; every rank holds everything. Works without a process group."""

    kind = "torch"
    shards_parameters = False

    def __init__(self, module: nn.Module, optimizer: torch.optim.AdamW, *, precision: Precision, device: torch.device) -> None:
        self.module = self.model = module
        self.device = device
        self._precision = precision
        self._optimizer = optimizer
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        self._world = dist.get_world_size() if dist.is_initialized() else 1
        self._buckets = GradientBuckets(self._parameters, world_size=self._world) if self._world > 1 else None
        self._rank = dist.get_rank() if dist.is_initialized() else 0
        self._gradients: list[Tensor] = []
        self._norm = torch.zeros((), device=device)
        self._updates = 0
        shared.create_moments(optimizer, self._parameters)
        self._start_from_rank_0()

    @property
    def updates(self) -> int:
        """Optimiser steps behind the moments."""
        return self._updates

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 autocast, or nothing with fp32."""
        return shared.autocast_context(self._precision, self.device)

    def accumulate(self, loss: Tensor, *, boundary: bool) -> None:
        """Backward of a scalar loss, added to the gradients; the last one of a step also averages them over the ranks."""
        if boundary and self._buckets is not None:
            self._buckets.expect_last_backward()
        loss.backward()  # type: ignore[no-untyped-call]

    def reduce_gradients(self) -> Tensor:
        """Average the gradients over the ranks; their global norm."""
        for parameter in self._parameters:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if self._buckets is not None:
            self._buckets.finish()
        self._gradients = [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        self._norm = shared.global_norm(self._gradients, partitioned=False)
        return self._norm

    def step(self, lr: float, *, max_grad_norm: float) -> None:
        """Clip, update, clear the gradients."""
        shared.scale_to_norm(self._gradients, self._norm, max_grad_norm)
        shared.set_learning_rate(self._optimizer, lr)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._gradients = []
        self._updates += 1

    def state(self, *, moments: bool = True) -> Iterator[tuple[str, ParameterState | None]]:
        """Every parameter and persistent buffer; rank 0 gets copies."""
        for name, parameter in self.module.named_parameters():
            yield name, self._read(parameter, moments=moments) if self._rank == 0 else None
        for name, buffer in shared.persistent_buffers(self.module).items():
            yield name, ParameterState(shared.cpu_copy(buffer)) if self._rank == 0 else None

    def load_state(self, read: Callable[[str], ParameterState], *, updates: int) -> None:
        """Set every parameter, buffer and moment."""
        for name, parameter in self.module.named_parameters():
            saved = read(name)
            parameter.data.copy_(shared.fitting(name, saved.weight, parameter.shape))
            if parameter.requires_grad:
                for key, value in shared.saved_moments(name, saved).items():
                    self._optimizer.state[parameter][key].copy_(value)
        for name, buffer in shared.persistent_buffers(self.module).items():
            buffer.copy_(shared.fitting(name, read(name).weight, buffer.shape))
        shared.set_updates(self._optimizer, updates)
        self._updates = updates

    def close(self) -> None:
        """Release the hooks, the gradients and the optimiser state."""
        if self._buckets is not None:
            self._buckets.close()
        self._optimizer.zero_grad()
        self._optimizer.state.clear()
        self._gradients = []

    def _read(self, parameter: nn.Parameter, *, moments: bool) -> ParameterState:
        state = self._optimizer.state[parameter] if moments and parameter.requires_grad else {}
        kept = {key: shared.cpu_copy(state[key]) for key in shared.MOMENTS if key in state}
        return ParameterState(shared.cpu_copy(parameter), **kept)

    def _start_from_rank_0(self) -> None:
        if self._world == 1:
            return
        for tensor in [*self.module.parameters(), *self.module.buffers()]:
            dist.broadcast(tensor.data, src=0)
