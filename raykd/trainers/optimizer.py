"""Optimiser of all engines, so that they give the same weights: AdamW, the global gradient norm, clipping, autocast."""

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from raykd.config.training import Precision
from raykd.errors import CheckpointError
from raykd.trainers.engines.engine import ParameterState

MOMENTS = ("exp_avg", "exp_avg_sq")
"""AdamW's names of the moments, which a checkpoint keeps besides the step."""


def adamw(module: nn.Module, *, weight_decay: float) -> torch.optim.AdamW:
    """AdamW over the trainable parameters; biases and norm weights (one dimension) do not decay.

    The learning rate is 0 until a step sets it, so that nothing an engine does while it is built can move a weight.
    Raises ValueError when nothing is trainable or a trainable parameter is not fp32.
    """
    trainable = [(name, parameter) for name, parameter in module.named_parameters() if parameter.requires_grad]
    if not trainable:
        raise ValueError("no parameter of the model requires a gradient; unfreeze some before building an engine")
    for name, parameter in trainable:
        if parameter.dtype != torch.float32:
            raise ValueError(f"parameter {name} is {parameter.dtype}; load models with dtype=torch.float32")
    matrices = [parameter for _, parameter in trainable if parameter.dim() > 1]
    vectors = [parameter for _, parameter in trainable if parameter.dim() <= 1]
    groups = [{"params": matrices, "weight_decay": weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    # fused also on the CPU: a step of review-tiny takes four fifths of the time it takes without
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=0.0, betas=(0.9, 0.999), eps=1e-8, fused=True)


def create_moments(optimizer: torch.optim.AdamW, parameters: Iterable[Tensor]) -> None:
    """Give AdamW the state that its first step would make, so that a checkpoint can be loaded before any step."""
    for parameter in parameters:
        optimizer.state[parameter] = {
            "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
            "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
        }


def set_updates(optimizer: torch.optim.AdamW, updates: int) -> None:
    """Set the number of steps that AdamW's bias correction counts from."""
    for state in optimizer.state.values():
        state["step"].fill_(updates)


def set_learning_rate(optimizer: torch.optim.AdamW, lr: float) -> None:
    """Set the learning rate of every group."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def global_norm(gradients: Sequence[Tensor], *, partitioned: bool, device: torch.device | None = None) -> Tensor:
    """L2 norm over all ``gradients``, a 0-dim fp32 tensor; nan or inf when one of them is.

    ``partitioned``: each rank holds other elements of the gradient, so squares are summed over the ranks. *Collective* then.
    ``device`` of the result and of the collective; None is that of the gradients.
    """
    norm = torch.nn.utils.get_total_norm(gradients)
    norm = norm if device is None else norm.to(device)
    if not partitioned:
        return norm
    square = norm.double().square()  # fp32 would overflow from a norm of 1.8e19
    dist.all_reduce(square)
    return square.sqrt().float()


def scale_to_norm(gradients: Sequence[Tensor], norm: Tensor, max_norm: float) -> None:
    """Multiply ``gradients`` in place by ``min(1, max_norm / (norm + 1e-6))``, on their device; 0 leaves them alone."""
    if max_norm > 0:
        scale = torch.clamp(max_norm / (norm + 1e-6), max=1.0)
        torch._foreach_mul_(list(gradients), scale.to(gradients[0].device) if gradients else scale)


def autocast_context(precision: Precision, device: torch.device) -> AbstractContextManager[Any]:
    """bf16 autocast on ``device``, or a context that does nothing."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def persistent_buffers(module: nn.Module) -> dict[str, Tensor]:
    """The buffers that belong to a model's state, by name."""
    kept = module.state_dict().keys()
    return {name: buffer for name, buffer in module.named_buffers() if name in kept}


def fitting(name: str, value: Tensor, shape: Sequence[int]) -> Tensor:
    """``value`` if it has ``shape``. Raises CheckpointError."""
    if list(value.shape) != list(shape):
        raise CheckpointError(
            f"{name} is {list(value.shape)} in the checkpoint and {list(shape)} in the model; "
            "continue with the model the checkpoint was written by, or start in another output folder"
        )
    return value


def saved_moments(name: str, saved: ParameterState) -> dict[str, Tensor]:
    """AdamW's moments of a trainable parameter. Raises CheckpointError when they were not saved."""
    if saved.exp_avg is None or saved.exp_avg_sq is None:
        raise CheckpointError(
            f"{name} is trained here, but the checkpoint has no optimiser state for it: it was frozen then; "
            "freeze the same parameters, or start in another output folder"
        )
    return {"exp_avg": saved.exp_avg, "exp_avg_sq": saved.exp_avg_sq}


def cpu_copy(tensor: Tensor) -> Tensor:
    """A contiguous copy in the CPU's memory, without graph."""
    return tensor.detach().to("cpu", copy=True).contiguous()
