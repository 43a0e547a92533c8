"""Losses against a teacher's decisions: self-training on hard labels, above a confidence."""

import torch.nn.functional as F
from torch import Tensor

from raykd.losses.reduce import keep, working_pair


def pseudo_label_ce(student_logits: Tensor, teacher_logits: Tensor, *, min_confidence: float) -> Tensor:
    """Per row ``-log softmax(student)_y`` with ``y = argmax(teacher)``, and 0 where ``softmax(teacher)_y < min_confidence``.

    Lee 2013, "Pseudo-Label"; the threshold as in Sohn et al. 2020, arXiv:2001.07685 §2.2, with temperature 1.
    Shapes: logits ``[B, C]``; fp32 ``[B]`` out. Raises ValueError when the shapes differ.
    """
    student, teacher = working_pair(student_logits, teacher_logits)
    confidence, label = teacher.softmax(-1).max(-1)  # [B] each
    loss = -F.log_softmax(student, dim=-1).gather(1, label[:, None]).squeeze(1)
    return keep(loss, confidence >= min_confidence)


def pseudo_label_bce(student_logits: Tensor, teacher_logits: Tensor, *, min_confidence: float) -> Tensor:
    """Per row the mean over labels of the binary cross entropy with the teacher's decision on each.

    A label of which the teacher is less sure than ``min_confidence``, either way, counts 0 in the mean.
    Shapes: logits ``[B, C]``; fp32 ``[B]`` out. Raises ValueError when the shapes differ.
    """
    student, teacher = working_pair(student_logits, teacher_logits)
    decided = (teacher > 0).to(student.dtype)  # [B, C]
    losses = F.binary_cross_entropy_with_logits(student, decided, reduction="none")
    return keep(losses, teacher.abs().sigmoid() >= min_confidence).mean(-1)
