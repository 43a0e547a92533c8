"""What a training task minimises."""

from typing import Annotated, Literal

from pydantic import Field

from raykd.config.base import Section


class FineTuneConfig(Section):
    """Cross entropy with the hard labels: teachers, and students without distillation."""

    kind: Literal["fine_tune"] = "fine_tune"


class _LogitKD(Section):
    """`alpha * teacher's terms + (1 - alpha) * CE`, from stored teacher logits."""

    alpha: float = Field(0.5, ge=0, le=1)
    """Weight of the teacher's terms (EasyNLP's convention); 1 needs no labels."""
    final_alpha: float | None = Field(None, ge=0, le=1)
    """alpha at the end of training, reached in a line; none keeps it level."""


class _SoftenedKD(_LogitKD):
    temperature: float = Field(2.0, gt=0)
    """T: softens both distributions; the T^2 of the loss keeps the gradient's size independent of it."""
    final_temperature: float | None = Field(None, gt=0)
    """T at the end of training, reached in a line; none keeps it level."""


class VanillaKDConfig(_SoftenedKD):
    """`alpha * T^2 * KL(teacher || student) + (1 - alpha) * CE`; Hinton et al. 2015. Label by label with `data.multi_label`."""

    kind: Literal["vanilla_kd"] = "vanilla_kd"


class MseKDConfig(_LogitKD):
    """`alpha * MSE(logits) + (1 - alpha) * CE`; Kim et al. 2021, arXiv:2105.08919."""

    kind: Literal["mse_kd"] = "mse_kd"


class DecoupledKDConfig(_SoftenedKD):
    """Target-class and non-target-class distillation weighted apart; Zhao et al. 2022, arXiv:2203.08679. Needs labels."""

    kind: Literal["decoupled_kd"] = "decoupled_kd"
    target_weight: float = Field(1.0, ge=0)
    """Weight of the target-class term."""
    non_target_weight: float = Field(1.0, ge=0)
    """Weight of the non-target-class term."""


class DistKDConfig(_SoftenedKD):
    """Correlation with the teacher within rows and batches; Huang et al. 2022, arXiv:2205.10536. Three classes or more."""

    kind: Literal["dist_kd"] = "dist_kd"
    temperature: float = Field(1.0, gt=0)
    """T: softens both distributions; correlations need no T^2."""
    inter_weight: float = Field(1.0, ge=0)
    """Weight of the correlation over the classes of a row."""
    intra_weight: float = Field(1.0, ge=0)
    """Weight of the correlation over the rows of a batch; above 0 it needs one worker and no accumulation."""


ObjectiveConfig = Annotated[
    FineTuneConfig | VanillaKDConfig | MseKDConfig | DecoupledKDConfig | DistKDConfig, Field(discriminator="kind")
]
