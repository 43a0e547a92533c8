"""What a student is to resemble: of a frozen teacher's insides what the layer map asks for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from raykd.data.batch import Batch
from raykd.metakd.domain_head import DomainHead, content
from raykd.metakd.layers import LayerMap, insides
from raykd.metakd.meta_teacher import side_column
from raykd.metakd.prototypes import DOMAIN_ID


@dataclass(frozen=True)
class Targets:
    """A teacher's side of the losses; B rows of L tokens."""

    logits: Tensor
    """``[B, C]``."""
    hidden: tuple[Tensor, ...]
    """Embeddings, then the output of each layer that a student layer learns from: ``[B, L, H]`` each."""
    scores: tuple[Tensor, ...]
    """Attention scores of those layers, ``[B, A, L, L]`` each; empty where no student asks for them."""
    knowledge: Tensor | None
    """The domain feature ``[B, H]``; none for a teacher without domain head."""

    def named(self) -> dict[str, Tensor]:
        """All tensors by name."""
        found = {"logits": self.logits}
        found |= {f"hidden{number}": value for number, value in enumerate(self.hidden)}
        found |= {f"scores{number}": value for number, value in enumerate(self.scores)}
        return found if self.knowledge is None else found | {"knowledge": self.knowledge}

    @staticmethod
    def of(named: Mapping[str, Tensor]) -> "Targets":
        """The inverse of :meth:`named`."""
        many = {kind: [name for name in named if name.startswith(kind)] for kind in ("hidden", "scores")}
        hidden, scores = (tuple(named[name] for name in sorted(many[kind], key=_number)) for kind in ("hidden", "scores"))
        return Targets(named["logits"], hidden, scores, named.get("knowledge"))


def _number(name: str) -> int:
    return int(name[len("hidden") :])


class FeatureTeacher(Protocol):
    """Says what a student is to resemble on a batch."""

    @property
    def model(self) -> Any:
        """The classifier that says it."""
        ...

    def __call__(self, batch: Batch) -> Targets:
        """Without gradients."""
        ...


@dataclass(frozen=True, eq=False)
class LiveTeacher:
    """A frozen teacher that runs beside the student: in eval mode, without gradients, outside the engine."""

    model: Any
    """A stock classifier, which shows its scores where they are wanted."""
    layers: LayerMap
    head: DomainHead | None = None
    """Its domain head; none for a teacher that is no meta-teacher."""
    with_scores: bool = True
    """Whether attention scores are wanted."""
    mean_heads: bool = False
    """Whether scores are averaged over heads, as students with another number of heads learn from the mean."""

    def __post_init__(self) -> None:
        for module in filter(None, (self.model, self.head)):
            module.eval().requires_grad_(False)

    @torch.no_grad()
    def __call__(self, batch: Batch) -> Targets:
        """One forward pass."""
        seen = insides(self.model, batch.model_inputs(), with_scores=self.with_scores)
        scores = [seen.scores[theirs - 1] for _, theirs in self.layers] if self.with_scores else []
        knowledge = None
        if self.head is not None:
            row = content(seen.hidden[-1], batch.attention_mask)
            knowledge = self.head.feature(row, side_column(batch, DOMAIN_ID))
        return Targets(
            seen.logits,
            (seen.hidden[0], *(seen.hidden[theirs] for _, theirs in self.layers)),
            tuple(score.mean(1, keepdim=True) if self.mean_heads else score for score in scores),
            knowledge,
        )
