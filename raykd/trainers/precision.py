"""Choice of the arithmetic of forward passes."""

from collections.abc import Iterator
from contextlib import contextmanager

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


def allow_tf32(allowed: bool) -> None:
    """Allow TF32 in this process's fp32 matrix products on GPUs, or forbid it; CPUs compute the same in either case."""
    torch.backends.cuda.matmul.allow_tf32 = allowed


@contextmanager
def without_tf32() -> Iterator[None]:
    """Exact fp32 matrix products inside the block."""
    before = torch.backends.cuda.matmul.allow_tf32
    allow_tf32(False)
    try:
        yield
    finally:
        allow_tf32(before)
