"""Losses on intermediate layers: embeddings, hidden states, attention scores (TinyBERT, Jiao et al. 2020) and self-attention
relations (MiniLMv2, Wang et al. 2021).

The caller chooses layers and projects widths. Padding contributes nothing; every mean runs over a row's own valid tokens, so a
row's value does not depend on the other rows of the batch.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.losses.reduce import keep, mean_over_tokens, working, working_pair


def hidden_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Per row the mean over valid tokens and width of ``(h_s - h_t)²``; arXiv:1909.10351 eq. 8 (layers) and 9 (embeddings).

    Shapes: hidden states or embeddings ``[B, L, H]``, mask ``[B, L]``; fp32 ``[B]`` out, 0 for a row without tokens.
    Raises ValueError when the shapes differ.
    """
    student, teacher = working_pair(student, teacher)
    squared = (keep(student, mask) - keep(teacher, mask)).square().mean(-1)  # [B, L]
    return mean_over_tokens(squared, mask)


def attention_mse(student: Tensor, teacher: Tensor, mask: Tensor) -> Tensor:
    """Per row the mean over valid query-key pairs and heads of ``(a_s - a_t)²``, a the scores before the softmax.

    Jiao et al. 2020, arXiv:1909.10351 eq. 7. Both axes are masked: a padded query's scores mean as little as those of a padded
    key, to which the model itself adds a large negative number.
    Shapes: scores ``[B, A, L, L]``, mask ``[B, L]``; fp32 ``[B]`` out, 0 for a row without tokens.
    Raises ValueError when the shapes differ.
    """
    student, teacher = working_pair(student, teacher)
    pairs = mask[:, None, :, None].bool() & mask[:, None, None, :].bool()  # [B, 1, L, L]
    squared = (keep(student, pairs) - keep(teacher, pairs)).square().mean(1)  # [B, L, L]
    return squared.sum((1, 2)) / pairs.sum((1, 2, 3)).clamp_min(1)


def vector_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Per row ``mean_h (f_s - f_t)²`` of one vector a row: ``[B, H]`` to fp32 ``[B]``.

    With the domain features of teacher and student: Meta-KD's transferable-knowledge loss, Pan et al. 2021, arXiv:2012.01266.
    Raises ValueError when the shapes differ.
    """
    student, teacher = working_pair(student, teacher)
    return (student - teacher).square().mean(-1)


def relation_kl(student: Tensor, teacher: Tensor, mask: Tensor, *, heads: int) -> Tensor:
    """Per row the mean over relation heads and valid positions of ``KL(R_t ‖ R_s)``, ``R = softmax(A A^T / sqrt(d_r))``.

    Multi-head self-attention relation distillation, Wang et al. 2021, arXiv:2012.15828 §3.1: ``A`` is one of the queries, keys
    and values of a layer with its attention heads concatenated, split anew into ``heads`` relation heads of width ``d_r``. The
    relation has one shape whatever the widths and numbers of attention heads, so neither a projection nor a pairing of heads
    is needed. Padding is masked before the softmax as a key, and left out of the mean as a query.
    Shapes: ``[B, L, W_s]`` and ``[B, L, W_t]``, mask ``[B, L]``; fp32 ``[B]`` out, 0 for a row without tokens.
    Raises ValueError when batch or length differ, or ``heads`` does not divide both widths.
    """
    if student.shape[:2] != teacher.shape[:2]:
        raise ValueError(
            f"student {tuple(student.shape)} and teacher {tuple(teacher.shape)} must have the same rows and tokens"
        )
    with torch.autocast(student.device.type, enabled=False):  # it would lower the products below to half precision
        log_q = _log_relation(working(student), mask, heads)  # [B, heads, L, L]
        log_p = _log_relation(working(teacher), mask, heads)
    keys = mask[:, None, None, :].bool()
    divergence = keep(log_p.exp() * (log_p - log_q), keys).sum(-1)  # [B, heads, L]
    return mean_over_tokens(divergence.mean(1), mask)


def _log_relation(vectors: Tensor, mask: Tensor, heads: int) -> Tensor:
    """Log of the relation of ``[B, L, W]``, ``[B, heads, L, L]``: a finite, huge negative number in the columns of padding."""
    rows, length, width = vectors.shape
    if width % heads:
        raise ValueError(f"{heads} relation heads do not divide the width {width}; take a number that divides both widths")
    split = keep(vectors, mask).view(rows, length, heads, width // heads).transpose(1, 2)  # [B, heads, L, d_r]
    products = split @ split.transpose(2, 3) * (width // heads) ** -0.5
    blocked = torch.finfo(products.dtype).min / 2  # half: the softmax subtracts from it without overflow
    return F.log_softmax(products.masked_fill(~mask[:, None, None, :].bool(), blocked), dim=-1)
