"""Training objectives."""

from typing import Annotated, Any, ClassVar, Literal, get_args

from pydantic import Field

from raykd.config.data import Outputs
from raykd.config.section import ObjectiveSection


class _Objective(ObjectiveSection):
    supported_outputs: ClassVar[tuple[Outputs, ...]] = get_args(Outputs)
    """Meanings of a model's outputs that the loss is defined for."""


class FineTuneConfig(_Objective):
    """Cross entropy with the hard labels: teachers, and students without distillation."""

    distils: ClassVar[bool] = False
    needs_teacher: ClassVar[bool] = False

    kind: Literal["fine_tune"] = "fine_tune"

    @property
    def needs_labels_for(self) -> tuple[str, ...]:
        """Always."""
        return ("kind = fine_tune",)


class _LogitKD(_Objective):
    """`alpha * teacher's terms + (1 - alpha) * CE`, from stored teacher logits."""

    alpha: float = Field(0.5, ge=0, le=1)
    """Weight of the teacher's terms, as in EasyNLP; 1 needs no labels."""
    final_alpha: float | None = Field(None, ge=0, le=1)
    """alpha at the end of training, changed linearly; null keeps alpha constant."""

    @property
    def needs_labels_for(self) -> tuple[str, ...]:
        """Any weight of the labels' term."""
        weights = {"alpha": self.alpha, "final_alpha": self.final_alpha}
        return tuple(f"{name} = {value}" for name, value in weights.items() if value not in (None, 1.0))


class _SoftenedKD(_LogitKD):
    temperature: float = Field(2.0, gt=0)
    """T of the softened distributions; the factor T^2 keeps the scale of the gradient independent of T."""
    final_temperature: float | None = Field(None, gt=0)
    """T at the end of training, changed linearly; null keeps T constant."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """Temperatures that sharpen."""
        given = {"temperature": self.temperature, "final_temperature": self.final_temperature}
        return tuple(
            f"{name} = {value:g} is below 1: it sharpens the teacher's probabilities, softening is above 1"
            for name, value in given.items()
            if value is not None and value < 1
        )


class VanillaKDConfig(_SoftenedKD):
    """`alpha * T^2 * KL(teacher || student) + (1 - alpha) * CE`; Hinton et al. 2015. For multi-label rows, one binary
    distillation per label.
    """

    supported_outputs = ("classes", "labels")
    kind: Literal["vanilla_kd"] = "vanilla_kd"


class MseKDConfig(_LogitKD):
    """`alpha * MSE(logits) + (1 - alpha) * CE`; Kim et al. 2021, arXiv:2105.08919. For regression the MSE of the outputs, and
    the MSE to the label instead of CE.
    """

    kind: Literal["mse_kd"] = "mse_kd"


class PseudoLabelConfig(_LogitKD):
    """`alpha * CE with the teacher's class + (1 - alpha) * CE`: distillation on hard labels, the usual self-training. For
    multi-label rows, the teacher's decision on each label. Not for regression, where it would be `mse_kd`.
    """

    supported_outputs = ("classes", "labels")
    kind: Literal["pseudo_label"] = "pseudo_label"
    min_confidence: float = Field(0.0, ge=0, le=1)
    """Probability that the teacher's answer needs; rows (or labels) below it have no term of the teacher. 0 takes all."""


class DecoupledKDConfig(_SoftenedKD):
    """Target-class and non-target-class distillation with separate weights; Zhao et al. 2022, arXiv:2203.08679. Needs
    labels.
    """

    supported_outputs = ("classes",)
    kind: Literal["decoupled_kd"] = "decoupled_kd"
    target_weight: float = Field(1.0, ge=0)
    """Weight of the target-class term."""
    non_target_weight: float = Field(1.0, ge=0)
    """Weight of the non-target-class term."""

    @property
    def needs_labels_for(self) -> tuple[str, ...]:
        """Always: they name the target class."""
        return ("kind = decoupled_kd",)


class DistKDConfig(_SoftenedKD):
    """Correlation with the teacher within rows and within batches; Huang et al. 2022, arXiv:2205.10536. For three classes or
    more.
    """

    supported_outputs = ("classes",)
    kind: Literal["dist_kd"] = "dist_kd"
    temperature: float = Field(1.0, gt=0)
    """T of the softened distributions; correlations need no factor T^2."""
    inter_weight: float = Field(1.0, ge=0)
    """Weight of the correlation over the classes of each row."""
    intra_weight: float = Field(1.0, ge=0)
    """Weight of the correlation over the rows of a batch; above 0 it needs one worker and no gradient accumulation."""


class CustomObjectiveConfig(_Objective):
    """A user's subclass of `raykd.trainers.objective.Objective`; docs/extending.md shows one."""

    needs_teacher: ClassVar[bool] = False  # the class itself names what it reads; that is checked before Ray starts

    kind: Literal["custom"] = "custom"
    target: str = Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")
    """Class as `package.module:Class`, imported on the driver and on every worker; see docs/extending.md."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Keyword arguments of its constructor."""

    @property
    def custom_class(self) -> str:
        """The class."""
        return self.target

    @property
    def summary(self) -> str:
        """Class and arguments."""
        return " ".join([self.target, *(f"{name}={value}" for name, value in self.arguments.items())])


ObjectiveConfig = Annotated[
    FineTuneConfig
    | VanillaKDConfig
    | MseKDConfig
    | PseudoLabelConfig
    | DecoupledKDConfig
    | DistKDConfig
    | CustomObjectiveConfig,
    Field(discriminator="kind"),
]


def supported_objectives(outputs: Outputs) -> tuple[str, ...]:
    """Kinds of distillation in raykd that are defined for such outputs of a model."""
    union, _ = get_args(ObjectiveConfig)
    named = [one for one in get_args(union) if one.distils and one is not CustomObjectiveConfig]
    return tuple(one.model_fields["kind"].default for one in named if outputs in one.supported_outputs)
