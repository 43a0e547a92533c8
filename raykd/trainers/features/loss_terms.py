"""The terms of feature distillation: which features each one reads, and its loss on one pair of layers.

A new term is a loss in :mod:`raykd.losses.intermediate`, an entry of :data:`LOSS_TERMS`, and its weight in
:class:`raykd.config.features.FeatureLossConfig`; a feature that no term reads yet is captured in
:mod:`raykd.trainers.features.encoder_outputs`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from raykd.config.features import FeatureLossConfig
from raykd.losses import attention_mse, hidden_mse, relation_kl
from raykd.trainers.features.encoder_outputs import ATTENTION_FEATURES, FeatureName, Features
from raykd.trainers.features.layer_map import LayerMap


@dataclass(frozen=True)
class FeatureLosses:
    """The settings of the losses: weights of the terms and what their formulas need."""

    weights: Mapping[str, float]
    """Weight of each term by its name; 0 leaves a term out."""
    layers: LayerMap
    relation_heads: int = 1

    @cached_property
    def terms(self) -> dict[str, "LossTerm"]:
        """The terms that have a weight."""
        return weighted_terms(self.weights)

    @property
    def features(self) -> frozenset[FeatureName]:
        """Features that the terms read."""
        return frozenset(name for term in self.terms.values() for name in term.features)

    @property
    def projected(self) -> tuple[str, ...]:
        """Terms whose student side goes through a linear map where the widths differ."""
        return tuple(name for name, term in self.terms.items() if term.projected)

    def __call__(
        self, student: Features, teacher: Features, mask: Tensor, project: Callable[[str, Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """Every term, weighted and summed over the pairs of layers, ``[B]`` each; ``project`` maps a term's student side."""
        found = {}
        for name, term in self.terms.items():
            losses = []
            for own, other in zip(_pairs(student, term.features), _pairs(teacher, term.features), strict=True):
                mapped = [project(name, one) for one in own] if term.projected else own
                losses.append(term.loss(mapped, other, mask, self))
            found[name] = self.weights[name] * torch.stack(losses).sum(0)
        return found


def _pairs(features: Features, names: Sequence[FeatureName]) -> list[tuple[Tensor, ...]]:
    """For each pair of the layer map the tensors of the named features."""
    return list(zip(*(features[name] for name in names), strict=True))


@dataclass(frozen=True)
class LossTerm:
    """One loss on features of a student and a teacher layer."""

    features: tuple[FeatureName, ...]
    """Features read from both models."""
    loss: Callable[[Sequence[Tensor], Sequence[Tensor], Tensor, FeatureLosses], Tensor]
    """The student's features of one layer, the teacher's, the mask ``[B, L]`` and the settings, to ``[B]``."""
    projected: bool = False
    """The widths must be equal: the student's side is projected where they are not."""


def _hidden(student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor, _: FeatureLosses) -> Tensor:
    return hidden_mse(student[0], teacher[0], mask)


def _scores(student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor, _: FeatureLosses) -> Tensor:
    return attention_mse(*same_heads(student[0], teacher[0]), mask)


def _relation(student: Sequence[Tensor], teacher: Sequence[Tensor], mask: Tensor, settings: FeatureLosses) -> Tensor:
    """Mean of the relations among queries, among keys and among values."""
    kinds = zip(student, teacher, strict=True)
    return torch.stack([relation_kl(own, other, mask, heads=settings.relation_heads) for own, other in kinds]).mean(0)


def same_heads(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Bring attention scores ``[B, A, L, L]`` to one shape: where the head counts differ, both are averaged over their heads.

    Heads have no order, so no pairing of 4 heads with 2 is better than another; the mean depends on none.
    """
    if student.shape[1] == teacher.shape[1]:
        return student, teacher
    return student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)


LOSS_TERMS: Mapping[str, LossTerm] = {
    "embedding": LossTerm(("embedding",), _hidden, projected=True),
    "hidden": LossTerm(("hidden",), _hidden, projected=True),
    "attention": LossTerm(("scores",), _scores),
    "relation": LossTerm(("queries", "keys", "values"), _relation),
}
"""Every term by the name of its weight."""


def term_weights(config: FeatureLossConfig) -> dict[str, float]:
    """The configured weight of every term."""
    return {name: float(getattr(config, f"{name}_weight")) for name in LOSS_TERMS}


def weighted_terms(weights: Mapping[str, float]) -> dict[str, LossTerm]:
    """The terms whose weight is not 0."""
    return {name: term for name, term in LOSS_TERMS.items() if weights.get(name)}


def attention_terms(weights: Mapping[str, float]) -> list[str]:
    """Names of the weighted terms that read attention, which not every model has."""
    return [name for name, term in weighted_terms(weights).items() if not ATTENTION_FEATURES.isdisjoint(term.features)]
