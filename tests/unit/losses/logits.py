"""Logits of a student and a teacher, and the gradient of a loss."""

import torch
from torch import Tensor

GENERATOR = torch.Generator().manual_seed(3)
STUDENT = 2 * torch.randn(6, 5, generator=GENERATOR, dtype=torch.float64)
TEACHER = 2 * torch.randn(6, 5, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
ALL = torch.ones(6, dtype=torch.bool)


def gradient(loss: Tensor, values: Tensor) -> Tensor:
    return torch.autograd.grad(loss, values)[0]
