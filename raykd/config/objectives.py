"""Training objectives."""

from typing import Annotated, Literal

from pydantic import Field

from raykd.config.base import ObjectiveSection


class FineTuneConfig(ObjectiveSection):
    """Cross entropy with the hard labels: teachers, and students without distillation."""

    kind: Literal["fine_tune"] = "fine_tune"


class _LogitKD(ObjectiveSection):
    """`alpha * teacher's terms + (1 - alpha) * CE`, from stored teacher logits."""

    alpha: float = Field(0.5, ge=0, le=1)
    """Weight of the teacher's terms, as in EasyNLP; 1 needs no labels."""
    final_alpha: float | None = Field(None, ge=0, le=1)
    """alpha at the end of training, changed linearly; null keeps alpha constant."""


class _SoftenedKD(_LogitKD):
    temperature: float = Field(2.0, gt=0)
    """T of the softened distributions; the factor T^2 keeps the scale of the gradient independent of T."""
    final_temperature: float | None = Field(None, gt=0)
    """T at the end of training, changed linearly; null keeps T constant."""


class VanillaKDConfig(_SoftenedKD):
    """`alpha * T^2 * KL(teacher || student) + (1 - alpha) * CE`; Hinton et al. 2015. For multi-label rows, one binary
    distillation per label.
    """

    kind: Literal["vanilla_kd"] = "vanilla_kd"


class MseKDConfig(_LogitKD):
    """`alpha * MSE(logits) + (1 - alpha) * CE`; Kim et al. 2021, arXiv:2105.08919."""

    kind: Literal["mse_kd"] = "mse_kd"


class DecoupledKDConfig(_SoftenedKD):
    """Target-class and non-target-class distillation with separate weights; Zhao et al. 2022, arXiv:2203.08679. Needs
    labels.
    """

    kind: Literal["decoupled_kd"] = "decoupled_kd"
    target_weight: float = Field(1.0, ge=0)
    """Weight of the target-class term."""
    non_target_weight: float = Field(1.0, ge=0)
    """Weight of the non-target-class term."""


class DistKDConfig(_SoftenedKD):
    """Correlation with the teacher within rows and within batches; Huang et al. 2022, arXiv:2205.10536. For three classes or
    more.
    """

    kind: Literal["dist_kd"] = "dist_kd"
    temperature: float = Field(1.0, gt=0)
    """T of the softened distributions; correlations need no factor T^2."""
    inter_weight: float = Field(1.0, ge=0)
    """Weight of the correlation over the classes of each row."""
    intra_weight: float = Field(1.0, ge=0)
    """Weight of the correlation over the rows of a batch; above 0 it needs one worker and no gradient accumulation."""


ObjectiveConfig = Annotated[
    FineTuneConfig | VanillaKDConfig | MseKDConfig | DecoupledKDConfig | DistKDConfig, Field(discriminator="kind")
]
