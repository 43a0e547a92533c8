"""Configuration of cross-domain distillation (``kind: meta_kd``)."""

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from raykd.config.experiment import STORAGE, TrackingConfig
from raykd.config.metakd_objectives import DomainLoss, MetaFeaturesConfig
from raykd.config.paths import ModelRef, PathField, StoragePath
from raykd.config.searched_job import SearchedJob
from raykd.config.section import Section
from raykd.config.student_init import InitConfig, with_teacher_model
from raykd.config.text_files import TextFilesConfig
from raykd.config.training import ComputeConfig, ModelTask, TrainingConfig

Baseline = Literal["hard_labels", "single_teacher", "mixed_teacher", "meta_teacher"]


class ReviewsConfig(Section):
    """Raw Amazon reviews, split as in the paper."""

    folder: PathField
    """Folder with `<domain>/{positive,negative}.review`, as in EasyNLP's sorted_data_acl."""
    remove_duplicates: bool = True
    """Keep each text once; false is the paper's own split, with its sizes."""
    split_seed: int = Field(11111, ge=0)
    """Seed of the split."""
    test: tuple[PathField, ...] | None = None
    """Files of further test rows, which replace those of the split: a text and a label a line, separated by a tab; the domain
    is the beginning of the file's name (`books_test.tsv`). null is the split's own test rows."""


class DomainDataConfig(TextFilesConfig):
    """Files of rows with a text, a label and a domain."""

    column_fields: ClassVar = (*TextFilesConfig.column_fields, "domain")

    label: str
    """Column that holds the label."""
    domain: str
    """Column that holds the domain."""
    train: tuple[PathField, ...] = Field(min_length=1)
    """Training files: paths or globs; formats and compression as for distillations without domains."""
    validation: tuple[PathField, ...] = Field(min_length=1)
    """Validation files, which select the best model."""
    test: tuple[PathField, ...] = Field(min_length=1)
    """Test files, used for the report only."""


class WeightsConfig(Section):
    """Instance weights: the similarity of a row to the prototypes of its class in its own domain and in the others."""

    kind: Literal["paper", "easynlp"] = "paper"
    """paper: prototypes per domain and class; easynlp: one centroid per domain."""
    alpha: float = Field(0.5, ge=0, le=1)
    """Weight of the prototype of the row's own domain; the other domains share the rest."""
    encoder: ModelRef | None = None
    """Model whose mean hidden states embed the rows; null is teacher.model before training."""


class MetaTeacherConfig(ModelTask):
    """The meta-teacher, and the teachers of the baselines, which are trained in the same way."""

    domain_loss_weight: float = Field(0.5, ge=0)
    """gamma_1: weight of the domain-adversarial loss."""
    domain_loss: DomainLoss = "wrong"
    """Form of the domain-adversarial loss: wrong (uniform target over the other domains), permuted (EasyNLP's) or reversed
    (gradient reversal)."""
    weigh_domain_loss: bool = False
    """Multiply the domain-adversarial loss by the instance weights too."""


class MetaIntermediateConfig(MetaFeaturesConfig):
    """Intermediate-layer distillation."""

    training: TrainingConfig = TrainingConfig(schedule="constant")
    """Batches, optimiser and schedule; the last model is kept."""


class PredictionConfig(Section):
    """Prediction-layer distillation."""

    training: TrainingConfig = TrainingConfig()
    """Batches, optimiser, schedule and validation on the domain's validation set."""
    temperature: float = Field(1.0, gt=0)
    """T of the soft targets, whose loss carries T^2."""
    hard_weight: float = Field(0.0, ge=0)
    """Weight of the cross entropy with the label."""
    expertise: bool = False
    """Weight rows by the teacher's expertise for the meta-distilled student."""


class MetaStudentConfig(Section):
    """The small models: one for each domain and seed."""

    model: ModelRef = Field(min_length=1)
    """Model folder, local or remote, or a model name on the Hugging Face hub; the teacher's with `init.from: teacher`."""
    init: InitConfig | None = None
    """Start every student, of the baselines too, from layers of `model` or of the fine-tuned meta-teacher; null starts from
    the model as it is."""
    seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field((1,), min_length=1)
    """Seeds: one student of each kind is trained for each."""
    domains: tuple[str, ...] = ()
    """Domains to distil for; an empty list is all of them."""
    mode: Literal["two_stages", "single"] = "two_stages"
    """two_stages: intermediate-layer, then prediction-layer distillation. single: the paper's one objective with all terms,
    trained with the settings of `intermediate` and selected on the validation set."""
    intermediate: MetaIntermediateConfig = MetaIntermediateConfig()
    """Intermediate-layer distillation."""
    prediction: PredictionConfig = PredictionConfig()
    """Prediction-layer distillation."""

    @property
    def from_teacher(self) -> bool:
        """True when the layers are those of the fine-tuned meta-teacher."""
        return self.init is not None and self.init.from_ == "teacher"


class MetaKDConfig(SearchedJob):
    """Students for several domains, distilled from one meta-teacher, and the baselines of the paper's table."""

    trials_report_early: ClassVar = False
    fixed_paths: ClassVar = (
        "student.seeds",
        "student.domains",
        "student.model",
        "student.init",
        "student.mode",
        "teacher.model",
    )

    kind: Literal["meta_kd"]
    name: str
    """Name of the run; its folder is `storage/name`."""
    storage: StoragePath = Field(STORAGE, validate_default=True)
    """Folder, or s3://, gs://, hdfs:// address, that every node sees."""
    seed: int = Field(1, ge=0)
    """Seed of the teachers' training."""
    reviews: ReviewsConfig | None = None
    """Raw Amazon reviews; give these or `data`."""
    data: DomainDataConfig | None = None
    """Data files with a domain column; give these or `reviews`."""
    domains: tuple[str, ...]
    """Domains, in the order of their ids."""
    labels: tuple[str, ...] = ("negative", "positive")
    """Label values, in the order of their ids."""
    sequence_length: int = Field(128, ge=4)
    """Maximum tokens of a row, special tokens included."""
    weights: WeightsConfig = WeightsConfig()
    """Instance weights."""
    teacher: MetaTeacherConfig
    """The large model."""
    student: MetaStudentConfig
    """The small models."""
    compat: Literal["easynlp"] | None = None
    """EasyNLP's arithmetic in weights, meta-teacher and both stages, with one worker; null is the paper's."""
    baselines: tuple[Baseline, ...] = ("hard_labels", "single_teacher", "mixed_teacher", "meta_teacher")
    """Baselines of the report: the student on hard labels alone, and TinyBERT's two stages from each kind of teacher."""
    compute: ComputeConfig = ComputeConfig()
    """Workers, devices and timeouts."""
    tracking: TrackingConfig = TrackingConfig()
    """Experiment tracking."""

    @model_validator(mode="before")
    @classmethod
    def _teacher_as_student(cls, given: Any) -> Any:
        return with_teacher_model(given)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(f"name = {self.name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit")
        if (self.reviews is None) == (self.data is None):
            raise ValueError("give either reviews (raw Amazon reviews) or data (files of your own)")
        for field, values, least in (
            ("domains", self.domains, 2),
            ("labels", self.labels, 2),
            ("student.seeds", self.student.seeds, 1),
        ):
            if len(values) < least or len(set(values)) != len(values):
                raise ValueError(f"{field} = {list(values)}: give at least {least}, each once")
        if self.compat:
            self._check_compat()
        student = self.student
        trainings = (self.teacher.training, student.intermediate.training, student.prediction.training)
        if any(training.class_weights != "none" for training in trainings):
            raise ValueError("training.class_weights = balanced is for distillations without domains; leave it out")
        if student.from_teacher and student.model != self.teacher.model:
            raise ValueError(
                f"student.init.from = teacher takes layers of {self.teacher.model}, not of student.model = {student.model}; "
                "leave student.model out, or set init.from to model"
            )
        unknown = [name for name in self.student.domains if name not in self.domains]
        if unknown:
            raise ValueError(f"student.domains: {unknown[0]!r} does not exist; domains are {', '.join(self.domains)}")
        self._check_whole_batches()
        return self

    def _check_compat(self) -> None:
        """Raise ValueError for settings that EasyNLP's arithmetic does not have."""
        if self.student.mode == "single":
            raise ValueError("compat = easynlp has no student.mode = single; set it to two_stages, or leave compat out")
        if self.compute.unpadded:
            raise ValueError("compat = easynlp averages over padding, as EasyNLP does; set compute.attention to padded")
        if self.teacher.domain_loss == "reversed":
            raise ValueError("compat = easynlp has no teacher.domain_loss = reversed; leave one of the two out")

    def _check_whole_batches(self) -> None:
        """Raise ValueError where a loss depends on all rows of a batch, and batches are cut."""
        trainings = {"teacher.training": self.teacher.training}
        if self.compat:
            loss, remedy = "compat = easynlp averages weights over a whole batch", ""
            trainings["student.intermediate.training"] = self.student.intermediate.training
        elif self.teacher.domain_loss == "permuted":
            loss, remedy = "teacher.domain_loss = permuted draws domains among a whole batch", ", or take domain_loss = wrong"
        else:
            return
        if self.compute.max_workers != 1:
            raise ValueError(f"{loss}, which compute.num_workers = {self.compute.num_workers} cuts; set it to 1{remedy}")
        for key, training in trainings.items():
            if training.micro_batch_size is not None:
                raise ValueError(
                    f"{loss}, which {key}.micro_batch_size = {training.micro_batch_size} cuts; leave it out{remedy}"
                )

    @property
    def chosen_domains(self) -> tuple[str, ...]:
        """Domains that get students."""
        return self.student.domains or self.domains

    @property
    def selected_training(self) -> TrainingConfig:
        """The training that selects a student's weights on the validation rows."""
        student = self.student
        return (student.intermediate if student.mode == "single" else student.prediction).training

    @property
    def teacher_models(self) -> tuple[str, ...]:
        """Model of the meta-teacher."""
        return (self.teacher.model,)

    @property
    def shared_work(self) -> str:
        """Name of the work that is done once for all trials of a search."""
        return "the meta-teacher, its logits and weights"

    def default_space(self) -> dict[str, dict[str, Any]]:
        """Temperature of the soft targets and gamma 2."""
        return {
            "student.prediction.temperature": {"kind": "loguniform", "low": 1.0, "high": 10.0},
            "student.intermediate.domain_loss_weight": {"kind": "uniform", "low": 0.0, "high": 1.0},
        }

    def trains_baseline(self, path: str) -> bool:
        """True for the prediction-layer training; students on labels alone also have the epochs of the intermediate one."""
        return path.startswith("student.prediction.training.") or path == "student.intermediate.training.epochs"

    def refuse_path(self, path: str) -> str | None:
        """Return the reason why trials cannot differ in the value at ``path``, with the alternative, or None."""
        if self.student.mode == "single" and path.startswith("student.prediction.training."):
            return "student.mode = single is one training, set by student.intermediate.training; search that"
        return super().refuse_path(path)
