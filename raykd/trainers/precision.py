"""Choice of the arithmetic of forward passes."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from raykd.config.training import Precision

BF16_OF_CPUS = frozenset({"avx512_bf16", "amx_bf16"})
"""Names that torch gives to instructions for matrix products of bf16 numbers."""


def resolve_precision(precision: str, device: torch.device) -> Precision:
    """Resolve ``auto``: bf16 on a device that computes in it, else fp32."""
    if precision == "auto":
        return "bf16" if has_native_bf16(device) else "fp32"
    return "bf16" if precision == "bf16" else "fp32"


def has_native_bf16(device: torch.device) -> bool:
    """True for GPUs from compute capability 8.0 on and x86 CPUs with AVX512-BF16 or AMX-BF16.

    Others only emulate bf16 (V100, T4, older CPUs), slower than fp32 and no smaller in memory: emulation does not count.
    """
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, bool] = getattr(torch.cpu, "get_capabilities", dict)()  # older versions of PyTorch: fp32
    return device.type == "cpu" and not BF16_OF_CPUS.isdisjoint(name for name, present in capabilities.items() if present)


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
