"""Losses for rows that may carry several labels: one sigmoid per label, the mean over labels per row."""

import torch.nn.functional as F
from torch import Tensor

from raykd.losses.reduce import working, working_pair
from raykd.losses.soft_targets import check_temperature


def bce(logits: Tensor, labels: Tensor) -> Tensor:
    """Per row ``mean_c -[y_c log σ(z_c) + (1 - y_c) log σ(-z_c)]``.

    Shapes: logits ``[B, C]``, labels ``[B, C]`` of 0 and 1 in any dtype; fp32 ``[B]`` out.
    Raises ValueError when the shapes differ.
    """
    if logits.shape != labels.shape:
        raise ValueError(
            f"labels {tuple(labels.shape)} must have the shape of the logits {tuple(logits.shape)}: a 0 or 1 for each"
        )
    logits = working(logits)
    return F.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype), reduction="none").mean(-1)


def bce_kd(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """Per row ``T² · mean_c KL(Ber(σ(t_c / T)) ‖ Ber(σ(s_c / T)))``: soft targets, label by label.

    Each label is a two-class problem with logits (z, 0): this is :func:`~raykd.losses.soft_target_kl` averaged over labels.
    Shapes: logits ``[B, C]``; fp32 ``[B]`` out.
    Raises ValueError when the temperature is not positive or the shapes differ.
    """
    check_temperature(temperature)
    student, teacher = working_pair(student_logits, teacher_logits)
    student, teacher = student / temperature, teacher / temperature  # [B, C]
    on = teacher.sigmoid() * (F.logsigmoid(teacher) - F.logsigmoid(student))
    off = (-teacher).sigmoid() * (F.logsigmoid(-teacher) - F.logsigmoid(-student))
    return (on + off).mean(-1) * temperature**2
