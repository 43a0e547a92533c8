"""Meta-distillation: the student matches the meta-teacher's features (intermediate layers), then its logits.

Pan et al. 2021, arXiv:2012.01266, on TinyBERT's terms (Jiao et al. 2020, arXiv:1909.10351). With every weight above 0,
:class:`MetaDistillation` is the paper's single objective; with ``soft_weight`` and ``hard_weight`` 0 it is the first stage.
"""

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from raykd.data.batch import Batch
from raykd.losses import cross_entropy, domain_expertise_weight, keep, soft_target_kl, vector_mse
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.domain_head import DomainHead, content
from raykd.metakd.meta_teacher import side_column
from raykd.metakd.prototypes import DOMAIN_ID, WEIGHT
from raykd.trainers.features.encoder_outputs import EncoderOutputs
from raykd.trainers.features.feature_kd import PROJECTIONS, FeatureKD, project
from raykd.trainers.features.live_teacher import TeacherTargets
from raykd.trainers.objective import (
    Objective,
    ObjectiveOutput,
    valid_labels,
    valid_logits,
    valid_output,
    valid_teacher_logits,
)

DOMAIN = "domain"
"""Name of the transferable-knowledge term, of the teacher's target for it, and of its projection."""


@dataclass(frozen=True, eq=False)
class DomainKnowledge:
    """The teacher's domain feature ``[B, H]`` as a further target of feature distillation."""

    head: DomainHead
    """The teacher's domain head."""

    def __post_init__(self) -> None:
        self.head.eval().requires_grad_(False)

    def __call__(self, teacher: EncoderOutputs, batch: Batch) -> dict[str, Tensor]:
        """Compute it from the teacher's last hidden states."""
        row = content(teacher.hidden[-1], batch.attention_mask)
        return {DOMAIN: self.head.feature(row, side_column(batch, DOMAIN_ID))}


@dataclass(frozen=True, eq=False, kw_only=True)
class MetaDistillation(FeatureKD):
    """Feature terms, then ``domain`` (transferable knowledge), ``kd_kl`` and ``ce``; a weight of 0 leaves a term out.

    With ``expertise`` every term is multiplied by the row's lambda. The student's domain head is among ``auxiliary``.
    """

    domain_loss_weight: float = 0.5
    """gamma 2: weight of the transferable-knowledge loss."""
    soft_weight: float = 0.0
    """Weight of the soft targets, from the live teacher."""
    temperature: float = 1.0
    hard_weight: float = 0.0
    """Weight of the cross entropy with the label."""
    expertise: bool = True
    """Weight each row by ``(1 + t) / (exp((p_y - 1)^2) + 1)``."""
    expertise_on_domain: bool = True
    """Apply these weights to the transferable-knowledge loss too, as in the authors' code."""

    @property
    def side_columns(self) -> tuple[str, ...]:
        """Scores and domain ids, where they are read."""
        return (WEIGHT, DOMAIN_ID) if self.expertise or self.domain_loss_weight else ()

    @property
    def needs_labels(self) -> bool:
        """True when lambda or the cross entropy reads them."""
        return self.expertise or self.hard_weight > 0

    def terms(
        self, student: EncoderOutputs, targets: TeacherTargets, batch: Batch, auxiliary: nn.ModuleDict
    ) -> dict[str, Tensor]:
        """Every term, ``[B]`` each."""
        terms = super().terms(student, targets, batch, auxiliary)
        logits = keep(student.logits, batch.valid)
        if self.domain_loss_weight:
            head, maps = _module(auxiliary, DOMAIN_HEAD), _module(auxiliary, PROJECTIONS)
            feature = head.feature(content(student.hidden[-1], batch.attention_mask), side_column(batch, DOMAIN_ID))
            terms[DOMAIN] = self.domain_loss_weight * vector_mse(project(maps, DOMAIN, feature), targets.vectors[DOMAIN])
        if self.soft_weight:
            kl = soft_target_kl(logits, keep(targets.logits, batch.valid), temperature=self.temperature)
            terms["kd_kl"] = self.soft_weight * kl
        if self.hard_weight:
            terms["ce"] = self.hard_weight * cross_entropy(logits, valid_labels(batch))
        return self._weighed(terms, batch, targets.logits)

    def _weighed(self, terms: dict[str, Tensor], batch: Batch, teacher_logits: Tensor) -> dict[str, Tensor]:
        """The terms times the rows' lambda, where it is wanted."""
        if not self.expertise:
            return terms
        logits = keep(teacher_logits, batch.valid)
        factor = domain_expertise_weight(logits, valid_labels(batch), side_column(batch, WEIGHT))
        exempt = () if self.expertise_on_domain else (DOMAIN,)
        return {name: term if name in exempt else factor * term for name, term in terms.items()}


def _module(auxiliary: nn.ModuleDict, name: str) -> Any:
    return auxiliary[name]


@dataclass(frozen=True, kw_only=True)
class PredictionDistillation(Objective):
    """Prediction-layer distillation: soft targets from stored teacher logits, no live teacher. Terms: ``kd_kl``, ``ce``."""

    temperature: float = 1.0
    hard_weight: float = 0.0
    """Weight of the cross entropy with the label, added to the soft targets of weight 1."""
    expertise: bool = False
    """Weight each row by ``(1 + t) / (exp((p_y - 1)^2) + 1)``."""

    @property
    def side_columns(self) -> tuple[str, ...]:
        """The teacher's logits, and scores where lambda is wanted."""
        return ("logits", WEIGHT) if self.expertise else ("logits",)

    @property
    def needs_labels(self) -> bool:
        """True when lambda or the cross entropy reads them."""
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
