"""EasyNLP's arithmetic of Meta-KD where it differs from the paper's, known errors included; for comparisons only.

Rows are padded to the full length, and every mean runs over the padding. Weights are averaged over the batch before they
multiply, so a batch must go through one forward pass. The relu between pooler and classifier, which no stock model has, is left
out. In prediction-layer distillation EasyNLP's teacher has dropout; here its logits are stored.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.data.batch import Batch
from raykd.errors import ConfigError
from raykd.losses import domain_expertise_weight
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.domain_head import DomainHead
from raykd.metakd.embeddings import Embedder
from raykd.metakd.meta_teacher import MetaTeacher, side_column
from raykd.metakd.prototypes import DOMAIN_ID, WEIGHT
from raykd.predict.scorer import Scorer
from raykd.trainers.features.feature_kd import PROJECTIONS, valid_terms
from raykd.trainers.features.layer_map import LayerMap
from raykd.trainers.objective import (
    Objective,
    ObjectiveOutput,
    valid_labels,
    valid_logits,
    valid_output,
    valid_teacher_logits,
)

FIT = "fit_dense"
"""Name of the single projection of all states of a student."""


@dataclass(frozen=True)
class Padding:
    """The length that EasyNLP pads every row to."""

    length: int
    token: int
    """The tokenizer's padding token."""

    def __call__(self, batch: Batch) -> Batch:
        """Pad the rows."""
        more = self.length - batch.input_ids.shape[1]
        types = batch.token_type_ids
        return dataclasses.replace(
            batch,
            input_ids=F.pad(batch.input_ids, (0, more), value=self.token),
            attention_mask=F.pad(batch.attention_mask, (0, more)),
            token_type_ids=None if types is None else F.pad(types, (0, more)),
            padded=batch.padded or more > 0,
        )


def content(hidden_states: Tensor) -> Tensor:
    """The mean of the last hidden states ``[B, L, H]`` over every position but the first, ``[B, H]``."""
    return hidden_states[:, 1:].mean(1)


def padded_embedder(padding: Padding) -> type[Scorer]:
    """An :class:`~raykd.metakd.embeddings.Embedder` of the mean over padding and ``[SEP]`` too."""

    class PaddedEmbedder(Embedder):
        """Embeds rows as EasyNLP does."""

        def forward(self, model: nn.Module, batch: Batch) -> Tensor:
            """Embeddings ``[B, H]``."""
            return content(model(**padding(batch).model_inputs()).last_hidden_state)

    return PaddedEmbedder


def refuse_cut_batches(whole_batch: bool) -> None:
    """Raise ConfigError for batches that are cut, since EasyNLP's losses depend on the cut."""
    if not whole_batch:
        raise ConfigError(
            "compat = easynlp averages weights over a whole batch, but batches are cut over workers or by micro_batch_size; "
            "train on one worker without micro_batch_size"
        )


def refuse_different_heads(student: Any, teacher: Any) -> None:
    """Raise ConfigError for two model configurations with different numbers of attention heads."""
    own, theirs = student.num_attention_heads, teacher.num_attention_heads
    if own != theirs:
        raise ConfigError(
            f"compat = easynlp compares attention head by head, but the student has {own} heads and the teacher {theirs}; take "
            "models with as many, or leave compat out"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class EasyNLPMetaTeacher(MetaTeacher):
    """``weight · (CE + gamma · CE of the domain, its labels a permutation of the batch's)``. Terms: ``ce``, ``domain``."""

    padding: Padding

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """One forward pass over the full length."""
        return super().__call__(model, self.padding(batch))

    def content(self, hidden_states: Tensor, attention_mask: Tensor) -> Tensor:
        """Mean that includes padding."""
        del attention_mask
        return content(hidden_states)


def fit_module(student: int, teacher: int) -> nn.ModuleDict:
    """Create the student's single projection, with bias, also where the widths are equal."""
    return nn.ModuleDict({FIT: nn.Linear(student, teacher)})


@dataclass(frozen=True, eq=False, kw_only=True)
class EasyNLPDistillation(Objective):
    """Intermediate-layer distillation, each term times the batch's mean weight.

    Terms: ``hidden`` (embeddings among them), ``attention`` and ``domain``.
    """

    teacher: Any
    """A classifier in training mode, with dropout."""
    head: DomainHead
    """The teacher's domain head."""
    fit: nn.Linear
    """Random and never trained: what the teacher's domain feature goes through."""
    layers: LayerMap
    auxiliary: Mapping[str, nn.Module]
    """The student's :func:`fit_module` and domain head."""
    domain_loss_weight: float
    padding: Padding

    def __post_init__(self) -> None:
        for module in (self.teacher, self.head, self.fit):
            module.train().requires_grad_(False)

    @property
    def side_columns(self) -> tuple[str, ...]:
        """Weights and domain ids."""
        return (WEIGHT, DOMAIN_ID)

    @property
    def trainable(self) -> Mapping[str, nn.Module]:
        """Projection and domain head of the student."""
        return self.auxiliary

    @property
    def frozen(self) -> nn.Module:
        """The teacher."""
        found: nn.Module = self.teacher
        return found

    def check(self, *, num_labels: int, whole_batch: bool) -> None:
        """Raise ConfigError for a batch that is cut."""
        del num_labels
        refuse_cut_batches(whole_batch)

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """One forward pass of the teacher, one of the student, over the full length."""
        batch = self.padding(batch)
        with torch.no_grad():
            seen = _outputs(self.teacher, batch.model_inputs())
            knowledge = self.fit(_feature(self.head, seen, batch))
        return ObjectiveOutput(model(run=self._forward, batch=batch, seen=seen, knowledge=knowledge, **batch.model_inputs()))

    def _forward(
        self, model: nn.Module, auxiliary: nn.ModuleDict, *, batch: Batch, seen: Any, knowledge: Tensor, **inputs: Any
    ) -> dict[str, Tensor]:
        inputs.pop("report_norms", None)
        own = _outputs(model, inputs)
        fit: Any = auxiliary[PROJECTIONS]
        pairs = [(0, 0), *self.layers]
        hidden = [_mean_square(fit[FIT](own.hidden_states[mine]), seen.hidden_states[theirs]) for mine, theirs in pairs]
        attention = [_mean_square(own.attentions[mine - 1], seen.attentions[theirs - 1]) for mine, theirs in self.layers]
        head: Any = auxiliary[DOMAIN_HEAD]
        domain = _mean_square(fit[FIT](_feature(head, own, batch)), knowledge)
        weight = domain_expertise_weight(seen.logits, valid_labels(batch), side_column(batch, WEIGHT)).mean()
        terms = {
            "hidden": torch.stack(hidden).sum(0),
            "attention": torch.stack(attention).sum(0),
            "domain": self.domain_loss_weight * domain,
        }
        return valid_terms({name: weight * term for name, term in terms.items()}, batch)


def _outputs(model: Any, inputs: Mapping[str, Tensor]) -> Any:
    """Run a model with eager attention and keep hidden states and attention probabilities."""
    return model(**inputs, output_hidden_states=True, output_attentions=True)


def _feature(head: DomainHead, seen: Any, batch: Batch) -> Tensor:
    """The domain feature without tanh and dropout, ``[B, H]``."""
    row = content(seen.hidden_states[-1]) + head.domain_embedding(side_column(batch, DOMAIN_ID))
    feature: Tensor = head.corrupt_dense(row)
    return feature


def _mean_square(student: Tensor, teacher: Tensor) -> Tensor:
    """The mean over everything but rows, ``[B]``; its mean over rows is EasyNLP's."""
    return (student - teacher).square().flatten(1).mean(1)


@dataclass(frozen=True, kw_only=True)
class EasyNLPPrediction(Objective):
    """Prediction-layer distillation: ``-sum softmax(t / T) log softmax(s / T)``, whose gradient shrinks with T: no T²."""

    temperature: float

    @property
    def side_columns(self) -> tuple[str, ...]:
        """The teacher's logits."""
        return ("logits",)

    @property
    def needs_labels(self) -> bool:
        """They are not read."""
        return False

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """One forward pass of the student."""
        log_q = F.log_softmax(valid_logits(model, batch) / self.temperature, dim=-1)
        p = F.softmax(valid_teacher_logits(batch) / self.temperature, dim=-1)
        return valid_output({"kd_ce": -(p * log_q).sum(-1)}, batch.valid)
