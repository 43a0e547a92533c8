"""The engine on DeepSpeed, ZeRO stages 0 to 3: the only file that uses DeepSpeed's internals.

Averaging and partitioning of stages 1 to 3 are DeepSpeed's; stage 0 averages as the torch engine does, in the backward pass.
The gradient norm, clipping and the finite check are raykd's own and the same for every engine: DeepSpeed's stage 0 would write
nan into the weights, its stages 1 to 3 would skip such a step without a word.
Written against deepspeed 0.19.8; ``tests/distributed`` fails when an upgrade moves what is used here.
"""

import os
import warnings
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

BUCKET_ELEMENTS = 2**25
"""Upper bound of DeepSpeed's buckets: 128 MiB of fp32. Its own default keeps a buffer of 2 GB for the smallest model."""
OVERLAPPING_BUCKET_ELEMENTS = 2**20
"""Lower bound of a bucket that is reduced while backward runs: 4 MiB of fp32. Latency outweighs smaller messages."""
OVERLAPPING_BUCKETS = 8
"""Buckets per model where they are reduced while backward runs: only the last one is left when it ends."""


class DeepSpeedEngine:
    """See :class:`raykd.trainers.engines.engine.Engine`. Raises RuntimeError without an initialised process group."""

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.AdamW,
        *,
        zero_stage: int,
        offload_optimizer: bool,
        precision: Precision,
        device: torch.device,
    ) -> None:
        if not dist.is_initialized():
            raise RuntimeError("the deepspeed engine needs torch.distributed.init_process_group first, even for one process")
        self.kind = f"deepspeed-zero{zero_stage}"
        self.module = module
        self.device = device
        self._stage = zero_stage
        self._offload = offload_optimizer
        self.shards_parameters = zero_stage == 3
        self._precision = precision
        self._optimizer = optimizer
        self._deepspeed = import_deepspeed(device)
        self._parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        config = deepspeed_config(
            zero_stage,
            precision,
            elements=sum(parameter.numel() for parameter in self._parameters),
            overlap=device.type == "cuda" and dist.get_world_size() > 1,  # on CPUs and alone it only costs a second buffer
            offload_optimizer=offload_optimizer,
        )
        self.model, *_ = self._deepspeed.initialize(model=module, optimizer=optimizer, config=config, dist_init_required=False)
        self._buckets: GradientBuckets | None = None
        if zero_stage == 0:
            self.model.enable_backward_allreduce = False  # DeepSpeed would begin behind the backward pass, and even alone
            if dist.get_world_size() > 1:
                self._buckets = GradientBuckets(self._parameters, world_size=dist.get_world_size())
        self._norm = torch.zeros((), device=device)
        self._updates = 0
        shared.create_moments(optimizer, self._flat_parameters())
        if zero_stage in {1, 2}:
            self.model.optimizer._lazy_init_hp_params_optimizer_state()  # lets safe_*_full_optimizer_state see the moments
        for buffer in module.buffers():  # DeepSpeed spreads rank 0's parameters alone
            dist.broadcast(buffer, src=0)

    @property
    def updates(self) -> int:
        """Optimiser steps behind the moments."""
        return self._updates

    def autocast(self) -> AbstractContextManager[Any]:
        """bf16 autocast, or nothing with fp32."""
        return shared.autocast_context(self._precision, self.device)

    def accumulate(self, loss: Tensor, *, boundary: bool) -> None:
        """Backward of a scalar loss, added to the gradients; ZeRO 2 and 3 reduce here, each micro-batch."""
        if boundary and self._buckets is not None:
            self._buckets.expect_last_backward()
        self.model.set_gradient_accumulation_boundary(boundary)
        self.model.backward(loss, scale_wrt_gas=False)

    def reduce_gradients(self) -> Tensor:
        """The global norm of the averaged gradients: DeepSpeed's, or stage 0's once the buckets are there."""
        if self._stage == 0:
            for parameter in self._parameters:
                if parameter.grad is None:
                    parameter.grad = torch.zeros_like(parameter)
        if self._buckets is not None:
            self._buckets.finish()
        if self._offload:
            self.model.optimizer._wait_for_offload_copies()  # from the device to the host's memory
        self._norm = shared.global_norm(self._gradients(), partitioned=self._stage > 0, device=self.device)
        return self._norm

    def step(self, lr: float, *, max_grad_norm: float) -> None:
        """Clip, update, clear the gradients. (ZeRO 3 and offloading check the norm once more: further reads by the host.)"""
        gradients = self._gradients()
        shared.scale_to_norm(gradients, self._norm, max_grad_norm)
        shared.set_learning_rate(self._optimizer, lr)
        self.model.step()
        if self._stage == 3 or self._offload:  # else a parameter that the next step does not use would be moved by it again
            torch._foreach_zero_(gradients)
        self._updates += 1

    def state(self, *, moments: bool = True) -> Iterator[tuple[str, ParameterState | None]]:
        """Every parameter and persistent buffer, gathered one at a time; rank 0 gets copies."""
        for name, parameter in self.module.named_parameters():
            yield name, self._read(parameter, moments=moments and parameter.requires_grad)
        for name, buffer in shared.persistent_buffers(self.module).items():
            yield name, ParameterState(shared.cpu_copy(buffer)) if dist.get_rank() == 0 else None

    def load_state(self, read: Callable[[str], ParameterState], *, updates: int) -> None:
        """Set every parameter, buffer and moment; each rank keeps its part."""
        for name, parameter in self.module.named_parameters():
            saved = read(name)
            shared.fitting(name, saved.weight, getattr(parameter, "ds_shape", parameter.shape))
            self._write_weight(parameter, saved.weight.to(self.device))
            if parameter.requires_grad:
                for key, value in shared.saved_moments(name, saved).items():
                    self._write_moment(parameter, key, value.to(self.device))
        for name, buffer in shared.persistent_buffers(self.module).items():
            buffer.copy_(shared.fitting(name, read(name).weight, buffer.shape))
        shared.set_updates(self._optimizer, updates)
        self._updates = updates

    def close(self) -> None:
        """Remove DeepSpeed's hooks and ZeRO 0's, and release the buffers."""
        if self._buckets is not None:
            self._buckets.close()
        self.model.destroy()
        self.model.module_forward_pre_hook.remove()
        self.model.module_forward_post_hook.remove()
        self._optimizer.state.clear()
        if self._stage == 3:
            for parameter in self.module.parameters():
                _release_zero_3(parameter)

    def _flat_parameters(self) -> list[Tensor]:
        """The tensors that AdamW really updates on this rank."""
        if self._stage == 0:
            return list(self._parameters)
        zero = self.model.optimizer
        return list(zero.fp32_partitioned_groups_flat if self._stage == 3 else zero.single_partition_of_fp32_groups)

    def _gradients(self) -> list[Tensor]:
        """The part this rank holds of the averaged gradients: all of it for stage 0, each element on one rank otherwise."""
        if self._stage == 0:
            return [parameter.grad for parameter in self._parameters if parameter.grad is not None]
        if self._offload:
            return [part.grad for part in self.model.optimizer.single_partition_of_fp32_groups]
        return [gradient for group in self.model.optimizer.averaged_gradients.values() for gradient in group]

    def _read(self, parameter: nn.Parameter, *, moments: bool) -> ParameterState | None:
        first = dist.get_rank() == 0
        kept: dict[str, Tensor] = {}
        for key in ("weight", *shared.MOMENTS) if moments else ("weight",):
            full = self._weight(parameter) if key == "weight" else self._moment(parameter, key)  # on every rank, one at a time
            if first:
                kept[key] = shared.cpu_copy(full)
        return ParameterState(**kept) if first else None

    def _weight(self, parameter: nn.Parameter) -> Any:
        if self._stage < 3:
            return parameter.detach()
        if parameter.requires_grad:
            return self._deepspeed.utils.safe_get_full_fp32_param(parameter)
        with self._deepspeed.zero.GatheredParameters(parameter):
            return parameter.detach().clone()

    def _write_weight(self, parameter: Any, value: Tensor) -> None:
        utils = self._deepspeed.utils
        if self._stage == 3:
            with self._deepspeed.zero.GatheredParameters(parameter, modifier_rank=0):
                if dist.get_rank() == 0:
                    parameter.data.copy_(value)
            if parameter.requires_grad:
                utils.safe_set_local_fp32_param(parameter, parameter.ds_tensor)
            return
        parameter.data.copy_(value)
        if self._stage > 0 and parameter.requires_grad:
            utils.safe_set_full_fp32_param(parameter, value)

    def _moment(self, parameter: nn.Parameter, key: str) -> Any:
        if self._stage == 0:
            return self._optimizer.state[parameter][key]
        return self._deepspeed.utils.safe_get_full_optimizer_state(parameter, key)

    def _write_moment(self, parameter: Any, key: str, value: Tensor) -> None:
        utils = self._deepspeed.utils
        if self._stage == 0:
            self._optimizer.state[parameter][key].copy_(value)
        elif self._stage < 3:
            utils.safe_set_full_optimizer_state(parameter, value, key)
        else:  # safe_set_full_* cannot cut a tensor whose size the ranks do not divide; the last piece is padded
            piece = parameter.ds_tensor.numel()
            flat = nn.functional.pad(value.flatten(), (0, piece * dist.get_world_size() - value.numel()))
            utils.safe_set_local_optimizer_state(parameter, flat.narrow(0, piece * dist.get_rank(), piece), key)


def import_deepspeed(device: torch.device) -> Any:
    """DeepSpeed for ``device``, kept from running a compiler and from warning of its own calls."""
    if device.type == "cpu":
        os.environ.setdefault("DS_ACCELERATOR", "cpu")  # read once, while deepspeed is imported
    os.environ.setdefault("LOCAL_RANK", str(device.index or 0))  # asked for, though the device is given; Ray Train has set it
    import deepspeed

    warnings.filterwarnings("ignore", r"`torch\.distributed\.\w+` is deprecated", FutureWarning)
    # On CPUs it would build a C++ collective that training never calls: a minute, and a lock that a killed process leaves
    # behind and every later one waits for. Reading this table instead of replacing it compiles test programs.
    deepspeed.ops.__compatible_ops__ = {"deepspeed_shm_comm": False}
    _forget_ended_groups(deepspeed.utils.groups)
    return deepspeed


def _forget_ended_groups(groups: Any) -> None:
    """DeepSpeed keeps the process's first group of ranks; after it has ended, a trial in the same process has another."""
    if groups._WORLD_GROUP is None:
        return
    try:
        dist.get_global_rank(groups._WORLD_GROUP, 0)
    except ValueError:
        groups._release_process_group_references()


def _release_zero_3(parameter: Any) -> None:
    """A cache inside DeepSpeed keeps every ZeRO 3 module for the life of the process: at least free what is large in it."""
    parameter._z3_optimizer = None
    parameter.ds_tensor.data = parameter.data = torch.empty(0, device=parameter.device)


def deepspeed_config(
    zero_stage: int, precision: Precision, *, elements: int, overlap: bool = False, offload_optimizer: bool = False
) -> dict[str, Any]:
    """DeepSpeed's configuration for a model of ``elements`` trainable elements. Batches, clipping and rates are the loop's.

    ``overlap``: reduce gradients while backward runs, for stages 1 and 2 (stage 3 always does, stage 0 never).
    ``offload_optimizer``: keep master weights and moments in the host's memory and update them there, for stages 1 and 2.
    """
    overlap = overlap and zero_stage in {1, 2}
    bucket = bucket_elements(elements, overlap=overlap)
    zero: dict[str, Any] = {"stage": zero_stage, "reduce_bucket_size": bucket, "allgather_bucket_size": bucket}
    if zero_stage in {1, 2}:
        zero["overlap_comm"] = overlap
        zero["compute_grad_norm"] = offload_optimizer  # raykd has computed it; offloading cannot do without
    if zero_stage == 3:
        zero["memory_efficient_linear"] = False  # it would replace torch.nn.functional.linear for the whole process
    config: dict[str, Any] = {
        "train_micro_batch_size_per_gpu": 1,
        "gradient_accumulation_steps": 1,
        "gradient_clipping": 0.0,
        "steps_per_print": None,
        "timers": {"throughput": {"enabled": False, "synchronized": False}},  # it would wait for the device twice a step
        "zero_optimization": zero,
    }
    if offload_optimizer:
        zero["offload_optimizer"] = {"device": "cpu", "pin_memory": True}
        # DeepSpeed's own CPU Adam is C++ that is compiled on the user's machine; torch's fused AdamW is vectorised too, is
        # there already, and gives the weights of the other engines
        config["zero_force_ds_cpu_optimizer"] = False
    if precision == "bf16":  # no module is named, so gradients are still reduced in fp32
        config["torch_autocast"] = {"enabled": True, "dtype": "bfloat16", "lower_precision_safe_modules": []}
    return config


def bucket_elements(elements: int, *, overlap: bool) -> int:
    """Elements of a bucket of gradients for a model of ``elements``; even, since DeepSpeed refuses an odd number.

    The whole model in one, up to ``BUCKET_ELEMENTS``. With ``overlap`` the model in ``OVERLAPPING_BUCKETS``, of
    ``OVERLAPPING_BUCKET_ELEMENTS`` at least.
    """
    wanted = max(-(-elements // OVERLAPPING_BUCKETS), OVERLAPPING_BUCKET_ELEMENTS) if overlap else elements
    size = min(wanted, elements, BUCKET_ELEMENTS)
    return size + size % 2
