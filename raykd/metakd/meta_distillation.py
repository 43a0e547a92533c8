"""Meta-distillation: a student learns what goes on inside the meta-teacher (stage first), then its answers (stage second).

Pan et al. 2021, arXiv:2012.01266, on TinyBERT's terms (Jiao et al. 2020, arXiv:1909.10351). With every weight above 0,
:class:`MetaDistillation` is the paper's single objective; with ``soft_weight`` and ``hard_weight`` 0 it is stage first.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from raykd.data.batch import Batch
from raykd.losses import attention_mse, cross_entropy, domain_expertise_weight, hidden_mse, keep, soft_target_kl, vector_mse
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.domain_head import content
from raykd.metakd.layers import EncoderOutputs, LayerMap, alike, insides
from raykd.metakd.meta_teacher import may_look_back, side_column, valid_terms
from raykd.metakd.prototypes import DOMAIN_ID, WEIGHT
from raykd.metakd.targets import FeatureTeacher, Targets
from raykd.trainers.gradient_norms import Note, pulls_at
from raykd.trainers.objective import (
    Objective,
    ObjectiveOutput,
    valid_labels,
    valid_logits,
    valid_output,
    valid_teacher_logits,
)

PROJECTIONS = "projections"
"""Name of the student's projections among the modules that a task trains, and of their file."""
EMBEDDING, HIDDEN, DOMAIN = "embedding", "hidden", "domain"


def projections(student: int, teacher: int) -> nn.ModuleDict:
    """Linear maps from the student's width to the teacher's for embeddings, hidden states and domain feature; none if equal."""
    if student == teacher:
        return nn.ModuleDict()
    return nn.ModuleDict({name: nn.Linear(student, teacher, bias=False) for name in (EMBEDDING, HIDDEN, DOMAIN)})


@dataclass(frozen=True, eq=False, kw_only=True)
class MetaDistillation(Objective):
    """Terms, each times its weight and, with ``expertise``, the row's lambda: ``embedding``, ``hidden``, ``attention``,
    ``domain`` (transferable knowledge), ``kd_kl``, ``ce``; a weight of 0 leaves a term out.
    """

    teacher: FeatureTeacher
    layers: LayerMap
    beside: Mapping[str, nn.Module]
    """The student's :func:`projections`, and its domain head where the domain term is wanted."""
    embedding_weight: float = 1.0
    hidden_weight: float = 1.0
    attention_weight: float = 1.0
    domain_loss_weight: float = 0.5
    """gamma 2: weight of the transferable-knowledge loss."""
    soft_weight: float = 0.0
    """Weight of the soft targets, from the live teacher."""
    temperature: float = 1.0
    hard_weight: float = 0.0
    """Weight of the cross entropy with the label."""
    expertise: bool = True
    """Whether a row weighs ``(1 + t) / (exp((p_y - 1)^2) + 1)``."""
    expertise_on_domain: bool = True
    """Whether that holds for the transferable-knowledge loss too, as in the authors' code."""

    @property
    def side_columns(self) -> tuple[str, ...]:
        """Scores and domain ids, where they are read."""
        return (WEIGHT, DOMAIN_ID) if self.expertise or self.domain_loss_weight else ()

    @property
    def needs_labels(self) -> bool:
        """Whether lambda or the cross entropy reads them."""
        return self.expertise or self.hard_weight > 0

    @property
    def trainable(self) -> Mapping[str, nn.Module]:
        """Projections (none of them where the widths are equal) and domain head of the student."""
        return self.beside

    @property
    def frozen(self) -> nn.Module:
        """The teacher."""
        found: nn.Module = self.teacher.model
        return found

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """What the frozen teacher says, then a forward pass of the student and what is beside it."""
        seen = self.teacher(batch)
        return ObjectiveOutput(model(run=self._forward, batch=batch, seen=seen, **batch.model_inputs()))

    def _weighed(self, terms: Mapping[str, Tensor], batch: Batch, teacher_logits: Tensor) -> Mapping[str, Tensor]:
        """The terms times the rows' lambda, where it is wanted."""
        if not self.expertise:
            return terms
        logits = keep(teacher_logits, batch.valid)
        factor = domain_expertise_weight(logits, valid_labels(batch), side_column(batch, WEIGHT))
        spared = () if self.expertise_on_domain else ("domain",)
        return {name: term if name in spared else factor * term for name, term in terms.items()}

    def _forward(
        self,
        model: nn.Module,
        beside: nn.ModuleDict,
        *,
        batch: Batch,
        seen: Targets,
        note: Note | None = None,
        **inputs: Tensor,
    ) -> dict[str, Tensor]:
        """Every term, ``[B]`` each."""
        own = insides(model, inputs, with_scores=self.attention_weight > 0)
        maps: Any = beside[PROJECTIONS]
        terms = self._feature_terms(own, seen, inputs["attention_mask"], maps)
        if self.domain_loss_weight:
            assert seen.knowledge is not None
            head: Any = beside[DOMAIN_HEAD]
            feature = head.feature(content(own.hidden[-1], inputs["attention_mask"]), side_column(batch, DOMAIN_ID))
            terms["domain"] = self.domain_loss_weight * vector_mse(_mapped(maps, DOMAIN, feature), seen.knowledge)
        if self.soft_weight:
            kl = soft_target_kl(keep(own.logits, batch.valid), keep(seen.logits, batch.valid), temperature=self.temperature)
            terms["kd_kl"] = self.soft_weight * kl
        if self.hard_weight:
            terms["ce"] = self.hard_weight * cross_entropy(keep(own.logits, batch.valid), valid_labels(batch))
        terms = valid_terms(self._weighed(terms, batch, seen.logits), batch)
        if note is not None and may_look_back(model):
            note(pulls_at(own.hidden[0], terms))
        return terms

    def _feature_terms(self, own: EncoderOutputs, seen: Targets, mask: Tensor, maps: Any) -> dict[str, Tensor]:
        terms: dict[str, Tensor] = {}
        mine = [layer for layer, _ in self.layers]
        if self.embedding_weight:
            first = _mapped(maps, EMBEDDING, own.hidden[0])
            terms["embedding"] = self.embedding_weight * hidden_mse(first, seen.hidden[0], mask)
        if self.hidden_weight:
            pairs = zip((_mapped(maps, HIDDEN, own.hidden[layer]) for layer in mine), seen.hidden[1:], strict=True)
            terms["hidden"] = self.hidden_weight * _total([hidden_mse(*pair, mask) for pair in pairs])
        if self.attention_weight:
            scores = [alike(own.scores[layer - 1], theirs) for layer, theirs in zip(mine, seen.scores, strict=True)]
            terms["attention"] = self.attention_weight * _total([attention_mse(*pair, mask) for pair in scores])
        return terms


@dataclass(frozen=True, kw_only=True)
class PredictionDistillation(Objective):
    """Stage second: soft targets from stored teacher logits, no teacher in memory. Terms: ``kd_kl``, ``ce``."""

    temperature: float = 1.0
    hard_weight: float = 0.0
    """Weight of the cross entropy with the label, added to the soft targets of weight 1."""
    expertise: bool = False
    """Whether a row weighs ``(1 + t) / (exp((p_y - 1)^2) + 1)``."""

    @property
    def side_columns(self) -> tuple[str, ...]:
        """The teacher's logits, and scores where lambda is wanted."""
        return ("logits", WEIGHT) if self.expertise else ("logits",)

    @property
    def needs_labels(self) -> bool:
        """Whether lambda or the cross entropy reads them."""
        return self.expertise or self.hard_weight > 0

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """One forward pass of the student."""
        student, teacher = valid_logits(model, batch), valid_teacher_logits(batch)
        terms = {"kd_kl": soft_target_kl(student, teacher, temperature=self.temperature)}
        if self.hard_weight:
            terms["ce"] = self.hard_weight * cross_entropy(student, valid_labels(batch))
        if self.expertise:
            factor = domain_expertise_weight(teacher, valid_labels(batch), side_column(batch, WEIGHT))
            terms = {name: factor * term for name, term in terms.items()}
        return valid_output(terms, batch.valid)


def _mapped(maps: Any, name: str, values: Tensor) -> Tensor:
    projected: Tensor = maps[name](values) if name in maps else values
    return projected


def _total(losses: list[Tensor]) -> Tensor:
    return torch.stack(losses).sum(0)
