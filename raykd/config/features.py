"""Configuration of feature distillation: losses on intermediate layers, for every job kind that distils."""

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from raykd.config.objectives import ObjectiveConfig
from raykd.config.paths import ModelRef
from raykd.config.section import ObjectiveSection, Section
from raykd.config.training import TrainingConfig

Layers = Literal["uniform", "last"] | tuple[tuple[int, int], ...]


class FeatureLossConfig(Section):
    """Losses on intermediate layers, summed over the layer map; a weight of 0 leaves a loss out."""

    layers: Layers = "uniform"
    """Layer map: uniform (student layer i from teacher layer i * teacher layers / student layers), last (the last layer of
    each), or pairs [student, teacher] counted from 1."""
    embedding_weight: float = Field(1.0, ge=0)
    """Weight of the squared distance of the embeddings."""
    hidden_weight: float = Field(1.0, ge=0)
    """Weight of the squared distance of the hidden states."""
    attention_weight: float = Field(1.0, ge=0)
    """Weight of the squared distance of the attention scores before the softmax; of their mean over heads where head counts
    differ."""
    relation_weight: float = Field(0.0, ge=0)
    """Weight of the KL of the self-relations of queries, keys and values, as in MiniLMv2; any head counts and widths."""
    relation_heads: int | None = Field(None, ge=1)
    """Relation heads, a divisor of the attention widths of both models; null takes the largest divisor that is not above the
    teacher's attention heads."""
    teacher_states: Literal["auto", "live", "stored"] = "auto"
    """Run the teacher during training (live) or once per row beforehand (stored); auto measures both. The gradients are
    equal."""


class IntermediateConfig(FeatureLossConfig):
    """Intermediate-layer distillation of the student, from one teacher that reads the same tokens."""

    mode: Literal["before", "joint"] = "before"
    """before: a training on these losses alone, whose last weights the training of student.objective starts from. joint: the
    losses are added to student.objective, in one training."""
    training: TrainingConfig | None = None
    """Batches, optimizer and schedule of mode before; null is the default training with a constant learning rate."""

    @property
    def summary(self) -> str:
        """Order and losses in one line, for a model card: ``after intermediate layers (hidden=1)``."""
        weights = {name: getattr(self, name) for name in type(self).model_fields if name.endswith("_weight")}
        losses = ", ".join(f"{name.removesuffix('_weight')}={weight:g}" for name, weight in weights.items() if weight)
        return f"{'after' if self.mode == 'before' else 'and'} intermediate layers ({losses})"

    @property
    def own_training(self) -> TrainingConfig:
        """The training of mode before."""
        return self.training or TrainingConfig(schedule="constant")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not any(getattr(self, name) for name in type(self).model_fields if name.endswith("_weight")):
            raise ValueError("every weight is 0; give one above 0, or remove the section")
        if self.mode == "joint" and self.training is not None:
            raise ValueError(
                "student.intermediate.mode = joint trains with student.training, but student.intermediate.training is given "
                "too; remove it, or set mode to before"
            )
        return self


class TeacherFeaturesConfig(FeatureLossConfig, ObjectiveSection):
    """Losses on the features of one frozen teacher."""

    outside_key: ClassVar[frozenset[str]] = frozenset({"teacher", "teacher_states", "trainings", "share_states"})

    teacher: ModelRef
    """Folder of the teacher."""
    trainings: int = Field(1, ge=1)
    """Number of consecutive trainings that use the same teacher states, which decides whether storing them pays."""
    share_states: bool = False
    """Share stored teacher states between the processes of a machine, not only between trainings of one process."""


class FeatureKDConfig(TeacherFeaturesConfig):
    """Feature distillation, alone or joined with a logit objective."""

    needs_teacher: ClassVar[bool] = False  # logits are read by the logit objective

    kind: Literal["feature_kd"] = "feature_kd"
    logit_objective: ObjectiveConfig | None = None
    """Objective on the logits, whose terms are added; null trains on features alone."""

    @property
    def custom_class(self) -> str | None:
        """That of the objective on the logits."""
        return None if self.logit_objective is None else self.logit_objective.custom_class
