"""Number of PyTorch threads of a training step on a CPU.

Threads wait for each other after every operation, which costs a small model more than the division of its work gains. The
number follows from the model and the rows alone, not from a measurement: sums over other numbers of threads differ in their
last bits, so a number that depended on the machine's load would give each run, and each restart, other weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

FLOP_PER_THREAD = 3e9
"""Operations of a step for each thread. On two cores a step of BERT with 2 layers of width 128 (2e9 for 32 rows of 25 tokens)
took 1.16 times as long on two threads as on one; the bound lies above it and below BERT with 4 layers of width 256 (15e9)."""


def step_flop(model: nn.Module, *, tokens: float, teacher: nn.Module | None = None) -> float:
    """Floating-point operations of a forward and backward pass over ``tokens``, and of a frozen teacher's forward pass.

    Two for each parameter of a matrix product and token, three times for a model that is trained (Kaplan et al. 2020,
    arXiv:2001.08361, section 2.1). Embedding tables do no products; attention itself is left out.
    """
    trained = 3 * _product_parameters(model)
    return 2.0 * tokens * (trained + (0 if teacher is None else _product_parameters(teacher)))


def choose_threads(flop: float, *, available: int) -> int:
    """Threads for a step of so many operations: one for each ``FLOP_PER_THREAD``, one at least and ``available`` at most."""
    return max(1, min(available, int(flop / FLOP_PER_THREAD)))


@contextmanager
def threads_restored() -> Iterator[None]:
    """Give the process back the number of threads that it had before the block."""
    before = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _product_parameters(model: nn.Module) -> int:
    modules = (module for module in model.modules() if not isinstance(module, nn.Embedding))
    return sum(parameter.numel() for module in modules for parameter in module.parameters(recurse=False))
