"""Losses and row weights of Meta-KD's domains; Pan et al. 2021, arXiv:2012.01266.

Domains are ids ``0 .. K-1``. The paper trains its domain classifier towards a *wrong* domain. Limits of that loss: of two
domains the wrong one is the other, as easy to learn as the right one; among more, a classifier that recognises the domain can
avoid it. Gradient reversal (:func:`reverse_gradient` before the domain head, then :func:`~raykd.losses.cross_entropy` with the
true domain) is the standard method for domain-invariant features.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.losses.reduce import working


def wrong_domain_ce(domain_logits: Tensor, domains: Tensor) -> Tensor:
    """Per row ``-1/(K-1) · sum_{k ≠ d} log softmax(z)_k``: cross entropy with a wrong domain, expected over the wrong ones.

    The expectation of the paper's random label: a drawn label adds noise and makes the loss depend on the order of rows.
    Shapes: logits ``[B, K]``, domains int64 ``[B]``; fp32 ``[B]`` out. Raises ValueError when K < 2: there is no wrong domain.
    """
    count = _domain_count(domain_logits.shape[-1])
    log_q = F.log_softmax(working(domain_logits), dim=-1)  # [B, K]
    wrong = torch.arange(count, device=domains.device) != domains[:, None]  # [B, K]
    return -torch.where(wrong, log_q, 0).sum(-1) / (count - 1)


def permuted_domains(domains: Tensor, *, generator: torch.Generator | None = None) -> Tensor:
    """EasyNLP's labels for the domain-adversarial loss: the batch's own domain ids in random order, ``[B]`` to ``[B]``.

    About one row in K keeps its true domain, and a run depends on how its batches are cut. For reproducing EasyNLP;
    :func:`wrong_domain_ce` is what the paper describes. The generator lives on the CPU.
    """
    return domains[torch.randperm(len(domains), generator=generator).to(domains.device)]


def reverse_gradient(values: Tensor, *, strength: float = 1.0) -> Tensor:
    """``values`` unchanged, with their gradient multiplied by ``-strength``; Ganin & Lempitsky 2015, arXiv:1409.7495 §3.

    Layers after it minimise the domain loss, layers before it maximise it. Any shape and float dtype.
    """
    constant = values.detach()
    return constant - strength * (values - constant)


def prototype_score(embeddings: Tensor, prototypes: Tensor, domains: Tensor, labels: Tensor, *, alpha: float = 0.5) -> Tensor:
    """Per row ``t = α cos(p_d^y, e) + (1-α)/(K-1) · sum_{k ≠ d} cos(p_k^y, e)``: similarity to its class in all domains.

    Shapes: embeddings ``[B, H]``, prototypes ``[K, M, H]`` (mean embedding of each domain's rows of each class), domains and
    labels int64 ``[B]``; fp32 ``[B]`` in -1 .. 1 out. A prototype of zeros (a domain without rows of that class) has cosine 0.
    Raises ValueError when K < 2, or alpha is not in 0 .. 1.
    """
    if not 0 <= alpha <= 1:
        raise ValueError(f"alpha must lie in 0 .. 1, got {alpha}")
    others = _domain_count(prototypes.shape[0]) - 1
    of_class = working(prototypes)[:, labels].transpose(0, 1)  # [B, K, H]
    cosines = F.cosine_similarity(of_class, working(embeddings)[:, None, :], dim=-1)  # [B, K]
    own = cosines.gather(1, domains[:, None]).squeeze(1)  # [B]
    return alpha * own + (1 - alpha) / others * (cosines.sum(1) - own)


def domain_expertise_weight(teacher_logits: Tensor, labels: Tensor, score: Tensor) -> Tensor:
    """Per row ``λ = (1 + t) / (exp((p_y - 1)²) + 1)``: larger for typical rows that the teacher classifies correctly.

    ``p_y`` is the teacher's probability of the label at T = 1, ``t`` the row's :func:`prototype_score`. The divisor runs from 2
    (certain and right) to e + 1: the teacher moves the weight by less than a factor of two. It never carries a gradient.
    Shapes: logits ``[B, C]``, labels int64 ``[B]``, score ``[B]``; fp32 ``[B]`` out.
    """
    right = working(teacher_logits.detach()).softmax(-1).gather(1, labels[:, None]).squeeze(1)  # [B]
    return (1 + working(score.detach())) / ((right - 1).square().exp() + 1)


def _domain_count(count: int) -> int:
    if count < 2:
        raise ValueError(f"domain losses and scores compare domains: at least two are needed, got {count}")
    return count
