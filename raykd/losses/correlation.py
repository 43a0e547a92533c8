"""DIST: Pearson correlation with the teacher's probabilities in place of a divergence; Huang et al. 2022, arXiv:2205.10536.

Both losses are ``1 - ρ`` with Pearson's ρ between softened probabilities. They have no factor T², unlike the authors' code: ρ
is scale-invariant, so the gradient's size hardly depends on T (10 classes, T = 1 to 16: within 20%), the purpose of T².
"""

import torch.nn.functional as F
from torch import Tensor

from raykd.losses.reduce import keep
from raykd.losses.soft_targets import softened

# A norm of deviations below this counts as 0: about a hundred fp32 steps of a probability. The gradient grows as 1/norm.
_FLOOR = 1e-6


def inter_class_correlation(student_logits: Tensor, teacher_logits: Tensor, *, temperature: float) -> Tensor:
    """Per row ``1 - ρ(q_i, p_i)`` over the classes of one row: the inter-class relation of arXiv:2205.10536 §4.

    Shapes: logits ``[B, C]``; fp32 ``[B]`` in 0 .. 2 out; a row of equal probabilities correlates with nothing and gives 1.
    Raises ValueError: temperature <= 0, shapes that differ, or fewer than three classes (two points always lie on a line, so
    ρ is ±1 and has no gradient).
    """
    log_q, log_p = softened(student_logits, teacher_logits, temperature)
    if log_q.shape[-1] < 3:
        raise ValueError(
            f"inter-class correlation needs at least three classes, got logits {tuple(log_q.shape)}: over two classes it is ±1 "
            "and has no gradient; leave this term out"
        )
    q, p = log_q.exp(), log_p.exp()
    return 1 - F.cosine_similarity(q - q.mean(-1, keepdim=True), p - p.mean(-1, keepdim=True), dim=-1, eps=_FLOOR)


def intra_class_correlation(student_logits: Tensor, teacher_logits: Tensor, valid: Tensor, *, temperature: float) -> Tensor:
    """Per row ``mean_c [1 - ρ(q_·c, p_·c)]``, ρ over the rows given: the intra-class relation of arXiv:2205.10536 §4.

    This is one number of the whole batch, and every valid row carries it, so that sum / rows is that number. It does not split
    over rows: the correlation within a micro-batch is no part of the correlation within the batch. **Give it the global batch
    in one call**; cut into micro-batches or over workers it is another loss, whose gradient depends on the cut.
    Shapes: logits ``[B, C]``, valid ``[B]``; fp32 ``[B]`` out, 0 where not valid; such rows enter no mean or norm. A class
    that the teacher finds equally probable in all rows (as in a batch of one) counts 1 and has no gradient.
    Raises ValueError: temperature <= 0, shapes that differ.
    """
    log_q, log_p = softened(keep(student_logits, valid), keep(teacher_logits, valid), temperature)
    q, p = _deviations(log_q.exp(), valid), _deviations(log_p.exp(), valid)  # [B, C]
    loss = (1 - F.cosine_similarity(q, p, dim=0, eps=_FLOOR)).mean()
    return keep(loss.expand(len(valid)), valid)


def _deviations(values: Tensor, valid: Tensor) -> Tensor:
    mean = keep(values, valid).sum(0) / valid.bool().sum().clamp_min(1)  # [C]
    return keep(values - mean, valid)
