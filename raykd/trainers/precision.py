"""Choice of the arithmetic of forward passes."""

import torch

from raykd.config.training import Precision


def resolve_precision(precision: str, device: torch.device) -> Precision:
    """Resolve ``auto``: bf16 on a GPU that computes in it, else fp32. CPUs are slower in bf16.

    V100 and T4 only emulate bf16, slower than fp32 and no smaller in memory: emulation does not count.
    """
    if precision == "auto":
        native = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        return "bf16" if native else "fp32"
    return "bf16" if precision == "bf16" else "fp32"
