"""Objectives that learn from the teacher's stored logits: ``alpha * teacher's terms + (1 - alpha) * cross entropy``.

A row without a label has the teacher's terms alone, with weight 1.

alpha weights the *teacher's* term, as in EasyNLP; some libraries mean the opposite by the letter. alpha = 1 reads no labels.
Temperature and alpha are constant, or change linearly over training to ``final_temperature`` and ``final_alpha``.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor, nn

from raykd.data.batch import Batch
from raykd.errors import ConfigError
from raykd.losses import (
    inter_class_correlation,
    intra_class_correlation,
    keep,
    mse_logits,
    non_target_class_kd,
    target_class_kd,
)
from raykd.task_kinds import SINGLE_LABEL, TaskKind
from raykd.trainers.objective import (
    Objective,
    ObjectiveOutput,
    valid_labels,
    valid_logits,
    valid_output,
    valid_teacher_logits,
)


def ramp(start: float, final: float | None, progress: float) -> float:
    """Value of a setting at a point of training: `start`, or linear from `start` (0) to `final` (1) where that is given."""
    return start if final is None else start + (final - start) * min(max(progress, 0.0), 1.0)


@dataclass(frozen=True, kw_only=True)
class LogitDistillation(Objective):
    """Base of logit distillation. The last term is the hard loss of the task: ``ce``, ``bce`` or ``mse``."""

    kind: TaskKind = SINGLE_LABEL
    """Kind of task: it has the hard loss, and the loss on softened outputs."""
    alpha: float = 0.5
    """Weight of the teacher's terms, 0 .. 1; the labels' term has the rest."""
    final_alpha: float | None = None
    """alpha at the end of training; None keeps it constant."""
    progress: float = 0.0
    """Fraction of the training that is done, 0 .. 1; set by `at`."""

    def __post_init__(self) -> None:
        """Raises ConfigError for an alpha outside 0 .. 1."""
        for name, value in (("alpha", self.alpha), ("final_alpha", self.final_alpha)):
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name} = {value}: the weight of the teacher's term lies in 0 .. 1")

    @property
    def side_columns(self) -> tuple[str, ...]:
        """The teacher's logits."""
        return ("logits",)

    @property
    def needs_labels(self) -> bool:
        """True when labels have a weight above 0 at some time of the training."""
        return self._weighs_labels

    @property
    def takes_unlabelled(self) -> bool:
        """True: they have the teacher's terms alone."""
        return True

    @property
    def _weighs_labels(self) -> bool:
        return self.alpha != 1 or self.final_alpha not in (None, 1)

    def at(self, progress: float) -> Self:
        """The same with alpha and temperature as they are at that point of training."""
        return replace(self, progress=progress)

    def _mixed(self, teacher_terms: Mapping[str, Tensor], student: Tensor, batch: Batch) -> ObjectiveOutput:
        """The teacher's terms and the labels', each ``[B]``, weighted; the labels are left alone where they never weigh."""
        alpha = ramp(self.alpha, self.final_alpha, self.progress)
        weight = alpha if batch.labelled is None else torch.where(batch.labelled, alpha, 1.0)  # [B]
        terms = {name: weight * term for name, term in teacher_terms.items()}
        if self._weighs_labels:
            hard = self.kind.hard_loss(student, valid_labels(batch))
            terms[self.kind.hard_term] = (1 - alpha) * (hard if batch.labelled is None else keep(hard, batch.labelled))
        return valid_output(terms, batch.valid)


@dataclass(frozen=True, kw_only=True)
class MseKD(LogitDistillation):
    """Regression on the teacher's logits, which has no temperature. Terms: ``kd_mse``, ``ce``."""

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """One forward pass of the student; the teacher's is stored."""
        student, teacher = valid_logits(model, batch), valid_teacher_logits(batch)
        return self._mixed({"kd_mse": mse_logits(student, teacher)}, student, batch)


@dataclass(frozen=True, kw_only=True)
class PseudoLabel(LogitDistillation):
    """Hard loss with the teacher's decision where it is sure enough. Terms: ``kd_pseudo``, and the hard loss of the label."""

    min_confidence: float = 0.0
    """Probability that the teacher's decision needs, 0 .. 1; below it a row (or label) has no term of the teacher."""

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """One forward pass of the student; the teacher's is stored."""
        student, teacher = valid_logits(model, batch), valid_teacher_logits(batch)
        loss = self.kind.pseudo_loss(student, teacher, min_confidence=self.min_confidence)
        return self._mixed({"kd_pseudo": loss}, student, batch)


@dataclass(frozen=True, kw_only=True)
class SoftDistillation(LogitDistillation):
    """Base of the objectives with softened probabilities."""

    temperature: float = 2.0
    """T > 0: softens teacher and student alike."""
    final_temperature: float | None = None
    """T at the end of training; None keeps it constant."""

    def __post_init__(self) -> None:
        """Raises ConfigError for a temperature that is not positive."""
        super().__post_init__()
        for name, value in (("temperature", self.temperature), ("final_temperature", self.final_temperature)):
            if value is not None and not value > 0:
                raise ConfigError(f"{name} = {value}: a temperature is above 0")

    @property
    def current_temperature(self) -> float:
        """T at this point of training."""
        return ramp(self.temperature, self.final_temperature, self.progress)


@dataclass(frozen=True, kw_only=True)
class VanillaKD(SoftDistillation):
    """``alpha T² KL(teacher ‖ student) + (1 - alpha) CE``; Hinton et al. 2015, arXiv:1503.02531. Terms: ``kd_kl``, ``ce``.

    For multi-label rows the same for each label by itself: ``kd_bce``, ``bce``.
    """

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """One forward pass of the student; the teacher's is stored."""
        student, teacher = valid_logits(model, batch), valid_teacher_logits(batch)
        loss = self.kind.soft_loss(student, teacher, temperature=self.current_temperature)
        return self._mixed({self.kind.soft_term: loss}, student, batch)


@dataclass(frozen=True, kw_only=True)
class DecoupledKD(SoftDistillation):
    """DKD, Zhao et al. 2022, arXiv:2203.08679. Terms: ``kd_target``, ``kd_non_target``, ``ce``. Needs labels, at alpha = 1 too.

    The paper adds both terms to an unweighted cross entropy: that is twice this at alpha = 0.5.
    """

    target_weight: float = 1.0
    """Weight of TCKD, the label against all else (the paper's alpha)."""
    non_target_weight: float = 1.0
    """Weight of NCKD, the order of the other classes (the paper's beta: 0.5 to 10, more for surer teachers)."""

    @property
    def needs_labels(self) -> bool:
        """Always: they name the target class."""
        return True

    @property
    def takes_unlabelled(self) -> bool:
        """Never: a row without a label has no target class."""
        return False

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """One forward pass of the student; the teacher's is stored."""
        student, teacher = valid_logits(model, batch), valid_teacher_logits(batch)
        labels, temperature = valid_labels(batch), self.current_temperature
        target = target_class_kd(student, teacher, labels, temperature=temperature)
        others = non_target_class_kd(student, teacher, labels, temperature=temperature)
        terms = {"kd_target": self.target_weight * target, "kd_non_target": self.non_target_weight * others}
        return self._mixed(terms, student, batch)


@dataclass(frozen=True, kw_only=True)
class DistKD(SoftDistillation):
    """DIST, Huang et al. 2022, arXiv:2205.10536. Terms of weight above 0: ``kd_inter``, ``kd_intra``; and ``ce``.

    The inter-class term belongs to a row, and needs three classes or more. The intra-class term is a number of the whole global
    batch: it is refused where that batch is cut, because every cut would be another loss.
    """

    temperature: float = 1.0
    """T > 0: softens teacher and student alike. These terms carry no T²: their gradient's size hardly depends on T."""
    inter_weight: float = 1.0
    """Weight of the correlation over a row's classes (the paper's beta)."""
    intra_weight: float = 1.0
    """Weight of the correlation over a batch's rows (the paper's gamma)."""

    def __post_init__(self) -> None:
        """Raises ConfigError when a weight is negative, or both are 0."""
        super().__post_init__()
        if min(self.inter_weight, self.intra_weight) < 0 or self.inter_weight + self.intra_weight == 0:
            raise ConfigError(
                f"inter_weight = {self.inter_weight}, intra_weight = {self.intra_weight}: neither is negative, one is above 0"
            )

    def check(self, *, num_labels: int, whole_batch: bool) -> None:
        """Raises ConfigError for two classes with the inter-class term, or a batch in parts with the intra-class term."""
        if self.inter_weight and num_labels < 3:
            raise ConfigError(
                f"inter_weight = {self.inter_weight} with {num_labels} labels: over two classes the correlation is ±1 and has "
                "no gradient; set inter_weight to 0, or distil with vanilla_kd"
            )
        if self.intra_weight and not whole_batch:
            raise ConfigError(
                f"intra_weight = {self.intra_weight} correlates the rows of a whole batch, but batches are cut over workers or "
                "by micro_batch_size; set intra_weight to 0, or train on one worker without micro_batch_size"
            )

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """One forward pass of the student; the teacher's is stored."""
        student, teacher = valid_logits(model, batch), valid_teacher_logits(batch)
        terms, temperature = {}, self.current_temperature
        if self.inter_weight:
            terms["kd_inter"] = self.inter_weight * inter_class_correlation(student, teacher, temperature=temperature)
        if self.intra_weight:
            intra = intra_class_correlation(student, teacher, batch.valid, temperature=temperature)
            terms["kd_intra"] = self.intra_weight * intra
        return self._mixed(terms, student, batch)
