"""Losses on what lies inside a model: embeddings, hidden states, attention scores (TinyBERT, Jiao et al. 2020).

Teacher and student tensors must have one shape: projections and the choice of layers belong to the caller.
Padding enters nothing; every mean runs over a row's own valid tokens, so a row's number does not depend on the rows beside it.
"""

from torch import Tensor

from raykd.losses.reduce import keep, mean_over_tokens, working_pair


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
