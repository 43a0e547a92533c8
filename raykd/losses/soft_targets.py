"""Losses on logits of single-label classifiers: the label itself, the teacher's distribution, the teacher's logits."""

import torch.nn.functional as F
from torch import Tensor

from raykd.losses.reduce import working, working_pair


def cross_entropy(logits: Tensor, labels: Tensor) -> Tensor:
    """Per row ``-log softmax(z)_y``: logits ``[B, C]``, labels int64 ``[B]`` in ``0 .. C-1``; fp32 ``[B]`` out.

    No label value is ignored (``F.cross_entropy`` ignores -100). Raises RuntimeError for one out of range.
    """
    return -F.log_softmax(working(logits), dim=-1).gather(1, labels[:, None]).squeeze(1)


def soft_target_kl(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """Per row ``T² · KL(p ‖ q)`` with ``p = softmax(teacher / T)``, ``q = softmax(student / T)``.

    Hinton et al. 2015, arXiv:1503.02531 §2, also for T²: it keeps the gradient's size independent of T.
    Shapes: logits ``[B, C]`` of any float dtype; fp32 ``[B]`` out.
    Raises ValueError when the temperature is not positive or the shapes differ.
    """
    log_q, log_p = softened(student_logits, teacher_logits, temperature)
    return kl(log_p, log_q) * temperature**2


def mse_logits(student_logits: Tensor, teacher_logits: Tensor) -> Tensor:
    """Per row ``mean_c (z_s - z_t)²``; Ba & Caruana 2014, arXiv:1312.6184 §2; Kim et al. 2021, arXiv:2105.08919 (a sum there).

    It has no temperature. For logits whose mean is 0, ``soft_target_kl`` tends to half of it as T grows.
    Shapes: logits ``[B, C]``; fp32 ``[B]`` out. Raises ValueError when the shapes differ.
    """
    student, teacher = working_pair(student_logits, teacher_logits)
    return (student - teacher).square().mean(-1)


def softened(student_logits: Tensor, teacher_logits: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """``log softmax(z / T)`` of student and teacher, ``[B, C]`` each; raises ValueError for T <= 0 or shapes that differ."""
    check_temperature(temperature)
    student, teacher = working_pair(student_logits, teacher_logits)
    return F.log_softmax(student / temperature, dim=-1), F.log_softmax(teacher / temperature, dim=-1)


def kl(log_p: Tensor, log_q: Tensor) -> Tensor:
    """``KL(p ‖ q)`` over the last axis, from log probabilities: ``[..., C]`` to ``[...]``."""
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def check_temperature(temperature: float) -> None:
    """Raise ValueError unless the temperature is positive."""
    if not temperature > 0:
        raise ValueError(f"temperature must be > 0, got {temperature}")
