"""Training objectives of cross-domain distillation (``kind: meta_kd``)."""

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from raykd.config.features import FeatureLossConfig, TeacherFeaturesConfig
from raykd.config.paths import PathField
from raykd.config.section import ObjectiveSection, Section

DomainLoss = Literal["wrong", "permuted", "reversed"]


class EasyNLPArithmetic(Section):
    """EasyNLP's arithmetic, known errors included."""

    sequence_length: int = Field(ge=4)
    """Tokens that every row is padded to; EasyNLP averages over the padding."""


class MetaTeacherObjective(ObjectiveSection):
    """Instance-weighted cross entropy and the domain-adversarial loss; Pan et al. 2021, arXiv:2012.01266."""

    kind: Literal["meta_teacher"] = "meta_teacher"
    num_domains: int = Field(ge=2)
    """Number of domains of the domain head."""
    domain_loss_weight: float = Field(0.5, ge=0)
    """gamma_1: weight of the domain-adversarial loss."""
    domain_loss: DomainLoss = "wrong"
    """Form of the domain-adversarial loss: wrong (uniform target over the other domains), permuted (EasyNLP's, one worker only)
    or reversed (gradient reversal)."""
    weigh_domain_loss: bool = False
    """Multiply the domain-adversarial loss by the instance weights too, as in EasyNLP."""
    compat: EasyNLPArithmetic | None = None
    """EasyNLP's averages, sampling of domains and use of the weights; null is the paper's loss."""


class MetaFeaturesConfig(FeatureLossConfig):
    """Terms of intermediate-layer distillation, summed over layers; a weight of 0 leaves a term out."""

    domain_loss_weight: float = Field(0.5, ge=0)
    """gamma_2: weight of the transferable-knowledge loss."""
    expertise: bool = True
    """Weight each row by the teacher's expertise, (1 + t) / (exp((p_y - 1)^2) + 1)."""
    expertise_on_domain: bool = True
    """Apply the expertise weights to the transferable-knowledge loss too."""


class MetaDistillationObjective(MetaFeaturesConfig, TeacherFeaturesConfig):
    """Distillation from a frozen teacher's hidden states and attentions, and with `soft_weight` from its logits."""

    outside_key: ClassVar[frozenset[str]] = TeacherFeaturesConfig.outside_key | {"domain_head"}

    kind: Literal["meta_distillation"] = "meta_distillation"
    domain_head: PathField | None = None
    """File of its domain head; null for a teacher without one, which needs domain_loss_weight 0."""
    num_domains: int = Field(2, ge=2)
    """Number of domains of the domain head."""
    soft_weight: float = Field(0.0, ge=0)
    """Weight of the soft targets."""
    temperature: float = Field(1.0, gt=0)
    """T of the soft targets, whose loss carries T^2."""
    hard_weight: float = Field(0.0, ge=0)
    """Weight of the cross entropy with the label."""
    compat: EasyNLPArithmetic | None = None
    """EasyNLP's intermediate-layer distillation, of which `domain_loss_weight` is the only weight; null is the paper's."""


class PredictionObjective(ObjectiveSection):
    """Prediction-layer distillation: soft targets from stored teacher logits."""

    kind: Literal["prediction_distillation"] = "prediction_distillation"
    temperature: float = Field(1.0, gt=0)
    """T of the soft targets, whose loss carries T^2."""
    hard_weight: float = Field(0.0, ge=0)
    """Weight of the cross entropy with the label; the soft targets have weight 1."""
    expertise: bool = False
    """Weight each row by the teacher's expertise, (1 + t) / (exp((p_y - 1)^2) + 1)."""
    compat: EasyNLPArithmetic | None = None
    """EasyNLP's soft targets, without T^2; null multiplies by T^2."""


MetaObjective = Annotated[MetaTeacherObjective | MetaDistillationObjective | PredictionObjective, Field(discriminator="kind")]
