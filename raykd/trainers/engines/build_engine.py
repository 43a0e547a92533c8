"""From a configuration to the engine it names."""

import torch
from torch import nn

from raykd.config import EngineConfig
from raykd.trainers.engines.base import Engine, Precision
from raykd.trainers.engines.deepspeed_engine import DeepSpeedEngine
from raykd.trainers.engines.torch_engine import TorchEngine
from raykd.trainers.optimizer import adamw


def build_engine(
    config: EngineConfig,
    module: nn.Module,
    *,
    weight_decay: float,
    precision: Precision,
    device: torch.device,
    betas: tuple[float, float] = (0.9, 0.999),
    eps: float = 1e-8,
) -> Engine:
    """The engine of ``config.kind`` around ``module``, whose fp32 weights become those of rank 0. *Collective.*

    Learning rate and clipping come with each ``step``. DeepSpeed needs an initialised process group, if only of one rank;
    plain torch works without.
    """
    module = module.to(device)
    optimizer = adamw(module, weight_decay=weight_decay, betas=betas, eps=eps)
    if config.kind == "torch":
        return TorchEngine(module, optimizer, precision=precision, device=device)
    return DeepSpeedEngine(module, optimizer, zero_stage=config.zero_stage, precision=precision, device=device)
