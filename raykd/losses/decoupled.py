"""Decoupled knowledge distillation: separate weights for target-class (TCKD) and non-target-class (NCKD) distillation.

Zhao et al. 2022, arXiv:2203.08679 §3. With ``p`` the teacher's softened distribution and ``y`` the label, the KL divergence is
``KL(p ‖ q) = TCKD + (1 - p_y) · NCKD``, so a confident teacher suppresses NCKD; separate weights remove that factor.
With two classes NCKD is 0 and TCKD is the whole KL.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.losses.soft_targets import kl, softened


def target_class_kd(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Per row TCKD, ``T² · KL([p_y, 1 - p_y] ‖ [q_y, 1 - q_y])``: the label against all other classes.

    Shapes: logits ``[B, C]``, labels int64 ``[B]``; fp32 ``[B]`` out.
    Raises ValueError: temperature <= 0, shapes that differ, C < 2.
    """
    log_q, log_p = softened(student_logits, teacher_logits, temperature)
    return kl(_label_or_not(log_p, labels), _label_or_not(log_q, labels)) * temperature**2


def non_target_class_kd(student_logits: Tensor, teacher_logits: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Per row NCKD, ``T² · KL`` of the two distributions over the classes that are not the label, each summing to 1.

    Shapes: logits ``[B, C]``, labels int64 ``[B]``; fp32 ``[B]`` out.
    Raises ValueError: temperature <= 0, shapes that differ, C < 2.
    """
    log_q, log_p = softened(student_logits, teacher_logits, temperature)
    return kl(F.log_softmax(_others(log_p, labels), dim=-1), F.log_softmax(_others(log_q, labels), dim=-1)) * temperature**2


def _label_or_not(log_p: Tensor, labels: Tensor) -> Tensor:
    on = log_p.gather(1, labels[:, None])  # [B, 1]
    # log(1 - p_y) from the others: 1 - p_y itself rounds to 0 for a confident teacher
    off = _others(log_p, labels).logsumexp(-1, keepdim=True)  # [B, 1]
    return torch.cat([on, off], dim=-1)  # [B, 2]


def _others(log_p: Tensor, labels: Tensor) -> Tensor:
    """Columns other than the label's, ``[B, C]`` to ``[B, C-1]``: gathered, without a large negative number as a mask."""
    classes = log_p.shape[-1]
    if classes < 2:
        raise ValueError(f"decoupled distillation needs at least two classes, got logits {tuple(log_p.shape)}")
    index = torch.arange(classes - 1, device=log_p.device).expand(log_p.shape[0], -1)  # [B, C-1]
    return log_p.gather(1, index + (index >= labels[:, None]))
