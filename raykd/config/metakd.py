"""Meta-KD: a job of ``kind: meta_kd``, and what its training tasks minimise."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from raykd.config.base import Section
from raykd.config.experiment import STORAGE, TrackingConfig
from raykd.config.training import ComputeConfig, ModelTask, TrainingConfig

DomainLoss = Literal["wrong", "permuted", "reversed"]
Baseline = Literal["hard_labels", "single_teacher", "mixed_teacher", "meta_teacher"]
Layers = Literal["uniform"] | tuple[tuple[int, int], ...]


class EasyNLPArithmetic(Section):
    """EasyNLP's arithmetic, mistakes and all."""

    sequence_length: int = Field(ge=4)
    """Tokens that every row is padded to; its means run over the padding."""


class MetaTeacherObjective(Section):
    """Cross entropy weighted by instance, and the domain-adversarial loss; Pan et al. 2021, arXiv:2012.01266."""

    kind: Literal["meta_teacher"] = "meta_teacher"
    num_domains: int = Field(ge=2)
    """Domains that the domain head tells apart."""
    domain_loss_weight: float = Field(0.5, ge=0)
    """gamma 1: weight of the domain-adversarial loss."""
    domain_loss: DomainLoss = "wrong"
    """Its labels: wrong (uniform over the others), permuted (EasyNLP's, one worker only), reversed (gradient reversal)."""
    weigh_domain_loss: bool = False
    """Whether instance weights multiply it too, as in EasyNLP."""
    compat: EasyNLPArithmetic | None = None
    """EasyNLP's means, its draw of domains and its place of the weights; none is the paper."""


class FeatureLossConfig(Section):
    """The terms of stage first, summed over layers; 0 leaves one out."""

    layers: Layers = "uniform"
    """Which student layer learns from which teacher layer: uniform, or pairs [student, teacher] counted from 1."""
    embedding_weight: float = Field(1.0, ge=0)
    """Weight of the embeddings' squared distance."""
    hidden_weight: float = Field(1.0, ge=0)
    """Weight of the hidden states' squared distance."""
    attention_weight: float = Field(1.0, ge=0)
    """Weight of the squared distance of attention scores before the softmax; over the heads' mean where head counts differ."""
    domain_loss_weight: float = Field(0.5, ge=0)
    """gamma 2: weight of the transferable-knowledge loss."""
    expertise: bool = True
    """Whether a row weighs (1 + t) / (exp((p_y - 1)^2) + 1)."""
    expertise_on_domain: bool = True
    """Whether that holds for the transferable-knowledge loss too."""
    teacher_states: Literal["auto", "live", "stored"] = "auto"
    """Whether the teacher runs beside the student or once a row; auto times both. The same gradients come out."""


class MetaDistillationObjective(FeatureLossConfig):
    """What goes on inside a live, frozen teacher, and with `soft_weight` its answers."""

    kind: Literal["meta_distillation"] = "meta_distillation"
    teacher: str
    """Folder of the teacher."""
    domain_head: str | None = None
    """Its domain head's file; none for a teacher without, which needs domain_loss_weight 0."""
    num_domains: int = Field(2, ge=2)
    """Domains that the head knows."""
    trainings: int = Field(1, ge=1)
    """Trainings that need the same rows' teacher states, one after another: what storing them pays for."""
    share_states: bool = False
    """Whether processes of one machine share what is stored, and not the trainings of one process alone."""
    soft_weight: float = Field(0.0, ge=0)
    """Weight of the soft targets."""
    temperature: float = Field(1.0, gt=0)
    """T of the soft targets; they carry T^2."""
    hard_weight: float = Field(0.0, ge=0)
    """Weight of the cross entropy with the label."""
    compat: EasyNLPArithmetic | None = None
    """EasyNLP's stage first, of which `domain_loss_weight` is the one weight; none is the paper's."""


class PredictionObjective(Section):
    """Stage second: soft targets from stored teacher logits."""

    kind: Literal["prediction_distillation"] = "prediction_distillation"
    temperature: float = Field(1.0, gt=0)
    """T of the soft targets; they carry T^2."""
    hard_weight: float = Field(0.0, ge=0)
    """Weight of the cross entropy with the label, beside soft targets of weight 1."""
    expertise: bool = False
    """Whether a row weighs (1 + t) / (exp((p_y - 1)^2) + 1)."""
    compat: EasyNLPArithmetic | None = None
    """EasyNLP's soft targets, without T^2; none carries T^2."""


MetaObjective = Annotated[MetaTeacherObjective | MetaDistillationObjective | PredictionObjective, Field(discriminator="kind")]


class ReviewsConfig(Section):
    """Raw Amazon reviews, which are split as in the paper."""

    folder: str
    """Folder of `<domain>/{positive,negative}.review`, EasyNLP's sorted_data_acl."""
    remove_duplicates: bool = True
    """Whether a text that stands there twice is kept once; false is the paper's own split, with its sizes."""
    split_seed: int = Field(11111, ge=0)
    """Seed of the split."""


class DomainDataConfig(Section):
    """TSV files of rows with a text, a label and a domain."""

    input_schema: str
    """Columns in file order, `name:type:length` joined by commas."""
    first_sequence: str
    """Column that holds the text."""
    second_sequence: str | None = None
    """Column that holds the second text of a pair."""
    label: str
    """Column that holds the label."""
    domain: str
    """Column that holds the domain."""
    train: tuple[str, ...] = Field(min_length=1)
    """Training files."""
    dev: tuple[str, ...] = Field(min_length=1)
    """Rows that choose the best weights."""
    test: tuple[str, ...] = Field(min_length=1)
    """Rows of the report; nothing is selected on them."""
    skip_header: bool = False
    """Whether the first line of every file is a header."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        columns = [item.split(":")[0] for item in self.input_schema.split(",")]
        for field in ("first_sequence", "second_sequence", "label", "domain"):
            name = getattr(self, field)
            if name is not None and name not in columns:
                raise ValueError(f"data.{field} = {name!r} is not a column of data.input_schema ({', '.join(columns)})")
        return self


class WeightsConfig(Section):
    """Instance weights: how typical a row is of its class, in its domain and in the others."""

    kind: Literal["paper", "easynlp"] = "paper"
    """paper: prototypes per domain and class; easynlp: one centroid a domain."""
    alpha: float = Field(0.5, ge=0, le=1)
    """Weight of the own domain's prototype; the others share the rest."""
    encoder: str | None = None
    """Model whose mean hidden states embed the rows; none is teacher.model before it is trained."""


class MetaTeacherConfig(ModelTask):
    """The meta-teacher, and the teachers of the baselines, which are trained alike."""

    domain_loss_weight: float = Field(0.5, ge=0)
    """gamma 1: weight of the domain-adversarial loss."""
    domain_loss: DomainLoss = "wrong"
    """wrong, permuted (EasyNLP's) or reversed."""
    weigh_domain_loss: bool = False
    """Whether instance weights multiply the domain-adversarial loss too."""


class IntermediateConfig(FeatureLossConfig):
    """Stage first."""

    training: TrainingConfig = TrainingConfig(schedule="constant")
    """Batches, optimiser, schedule; its last weights are kept."""


class PredictionConfig(Section):
    """Stage second."""

    training: TrainingConfig = TrainingConfig()
    """Batches, optimiser, schedule, validation on the domain's dev rows."""
    temperature: float = Field(1.0, gt=0)
    """T of the soft targets; they carry T^2."""
    hard_weight: float = Field(0.0, ge=0)
    """Weight of the cross entropy with the label."""
    expertise: bool = False
    """Whether rows weigh by expertise here too, for the meta-distilled student."""


class MetaStudentConfig(Section):
    """One student for each domain and seed."""

    model: str = Field(min_length=1)
    """Model folder or hub name."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((1,), min_length=1)
    """A student for each."""
    domains: tuple[str, ...] = ()
    """The domains to distil for; none are all of them."""
    mode: Literal["two_stages", "single"] = "two_stages"
    """single: the paper's one objective, all terms at once, trained as `intermediate` says and selected on dev."""
    intermediate: IntermediateConfig = IntermediateConfig()
    """What goes on inside the teacher."""
    prediction: PredictionConfig = PredictionConfig()
    """The teacher's answers."""


class MetaKDConfig(Section):
    """From rows of several domains to a student for each, beside the baselines of the paper's table."""

    kind: Literal["meta_kd"]
    name: str
    """Name of the run; its folder is `storage/name`."""
    storage: str = STORAGE
    """Folder, or s3://, gs://, hdfs:// address, that every node sees."""
    seed: int = Field(1, ge=0)
    """Seed of the teachers' training."""
    reviews: ReviewsConfig | None = None
    """Raw reviews; or `data`."""
    data: DomainDataConfig | None = None
    """Rows of one's own; or `reviews`."""
    domains: tuple[str, ...]
    """All domains, in the order of their ids."""
    labels: tuple[str, ...] = ("negative", "positive")
    """The label values in the order of their ids."""
    sequence_length: int = Field(128, ge=4)
    """Longest row in tokens."""
    weights: WeightsConfig = WeightsConfig()
    """Instance weights."""
    teacher: MetaTeacherConfig
    """The large model."""
    student: MetaStudentConfig
    """The small models."""
    compat: Literal["easynlp"] | None = None
    """EasyNLP's arithmetic in weights, meta-teacher and both stages, one worker only; none is the paper's."""
    baselines: tuple[Baseline, ...] = ("hard_labels", "single_teacher", "mixed_teacher", "meta_teacher")
    """Rows beside meta-distillation: the student on labels alone, and TinyBERT's two stages from each kind of teacher."""
    compute: ComputeConfig = ComputeConfig()
    """Workers, processors and waits."""
    groups: int | None = Field(1, ge=1)
    """Groups of workers that train domains side by side; null is as many as a cluster has room for, one on this machine."""
    tracking: TrackingConfig = TrackingConfig()
    """Where figures go while training runs."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(f"name = {self.name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit")
        if (self.reviews is None) == (self.data is None):
            raise ValueError("give either reviews (raw Amazon reviews) or data (TSV files of your own)")
        for field, values, least in (
            ("domains", self.domains, 2),
            ("labels", self.labels, 2),
            ("student.seeds", self.student.seeds, 1),
        ):
            if len(values) < least or len(set(values)) != len(values):
                raise ValueError(f"{field} = {list(values)}: give at least {least}, each once")
        if self.compat and (self.compute.max_workers != 1 or self.student.mode == "single"):
            raise ValueError(
                "compat = easynlp needs compute.num_workers = 1 and student.mode = two_stages, which is all it has"
            )
        unknown = [name for name in self.student.domains if name not in self.domains]
        if unknown:
            raise ValueError(f"student.domains: {unknown[0]!r} does not exist; domains are {', '.join(self.domains)}")
        return self

    @property
    def chosen_domains(self) -> tuple[str, ...]:
        """The domains that get students."""
        return self.student.domains or self.domains
