"""Lookup of engines: from a configuration to the engine it names."""

from collections.abc import Callable

import torch
from torch import nn

from raykd.config import EngineConfig
from raykd.config.training import Precision
from raykd.trainers.engines.deepspeed_engine import DeepSpeedEngine
from raykd.trainers.engines.engine import Engine
from raykd.trainers.engines.torch_engine import TorchEngine
from raykd.trainers.optimizer import adamw

ENGINES: dict[str, Callable[..., Engine]] = {"torch": TorchEngine, "deepspeed": DeepSpeedEngine}
"""Engine classes by the ``kind`` of their configuration, whose other fields are keyword arguments of the class."""


def build_engine(
    config: EngineConfig, module: nn.Module, *, weight_decay: float, precision: Precision, device: torch.device
) -> Engine:
    """Build the engine of ``config.kind`` around ``module``, whose fp32 weights become those of rank 0. *Collective.*

    Learning rate and clipping come with each ``step``. DeepSpeed needs an initialised process group, if only of one rank;
    plain torch works without.
    """
    module = module.to(device)
    optimizer = adamw(module, weight_decay=weight_decay)
    settings = config.model_dump(exclude={"kind"})
    return ENGINES[config.kind](module, optimizer, precision=precision, device=device, **settings)
