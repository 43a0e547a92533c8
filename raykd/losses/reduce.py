"""Helpers shared by all losses: masks applied to the inputs, working precision, and the sum over rows.

Masking happens here and before any softmax or square: a NaN that is only masked afterwards still comes back through the
gradient, because 0 times NaN is NaN.
"""

import torch
from torch import Tensor


def keep(values: Tensor, mask: Tensor) -> Tensor:
    """``values`` where ``mask`` is true and 0 elsewhere; masked positions have no gradient, whatever their value.

    The mask, bool or 0/1, covers the leading axes of ``values`` (``[B]`` or ``[B, L]`` for ``[B, L, H]``) or broadcasts to all.
    """
    trailing = (1,) * (values.dim() - mask.dim())
    return torch.where(mask.bool().reshape(mask.shape + trailing), values, 0)


def working_pair(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Both tensors in fp32, or float64 where they are that. Raises ValueError when their shapes differ: nothing broadcasts."""
    if student.shape != teacher.shape:
        raise ValueError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must have one shape; "
            "project one of them, or check that both models have the same labels"
        )
    return working(student), working(teacher)


def working(values: Tensor) -> Tensor:
    """``values`` in at least fp32: half precision is converted, float64 is kept."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def mean_over_tokens(values: Tensor, mask: Tensor) -> Tensor:
    """Mean over the valid tokens: ``[B, L, ...]`` with mask ``[B, L]`` to ``[B, ...]``; a row without any gives 0."""
    summed = keep(working(values), mask).sum(1)  # [B, ...]
    count = mask.bool().sum(1).clamp_min(1)  # [B]
    return summed / count.reshape(count.shape + (1,) * (summed.dim() - 1))


def valid_sum(per_row: Tensor, valid: Tensor) -> Tensor:
    """Sum over the valid rows: ``per_row`` and ``valid`` are ``[B]``.

    The trainer divides by the global number of rows. Without a valid row the result is a zero that still carries the graph, so
    that every rank can run backward.
    """
    return keep(per_row, valid).sum()
