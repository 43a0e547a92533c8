"""Configuration of a distillation: the frozen object that job files, overrides and EasyNLP's flags resolve to."""

import re
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from raykd.config.augment import AugmentConfig, check_augment, check_scored_rows
from raykd.config.data import DataConfig
from raykd.config.logits import LogitsConfig
from raykd.config.paths import StoragePath
from raykd.config.searched_job import SearchedJob
from raykd.config.section import Section
from raykd.config.student import StudentConfig, StudentVariant, check_searched
from raykd.config.student_init import STUDENT_INIT_KEYS, with_teacher_model
from raykd.config.teacher_kinds import (
    AnyTeacher,
    AnyWeightedTeacher,
    CausalTeacherConfig,
    TeacherConfig,
    WeightedCausalTeacher,
    WeightedTeacher,
    check_causal_teachers,
    with_teacher_kind,
)
from raykd.config.training import ComputeConfig, TrainingConfig
from raykd.config.variant_checks import check_task, check_variant

STORAGE = "runs"
"""Default storage folder."""


class TrackingConfig(Section):
    """Experiment tracking."""

    kind: Literal["none", "wandb", "tensorboard"] = "none"
    """Tracker: `none`, Weights & Biases (offline without a key), or TensorBoard."""
    project: str = "raykd"
    """Project name in Weights & Biases."""


class ExperimentConfig(SearchedJob):
    """A distillation from data files to a comparison table."""

    movable_paths: ClassVar = (
        "student.training.learning_rate", "student.objective.temperature", "student.objective.alpha",
    )  # fmt: skip
    step_paths: ClassVar = tuple(
        f"student.{part}.{key}"
        for part in ("training", "intermediate.training")
        for key in ("epochs", "batch_size", "max_steps")
    )
    fixed_paths: ClassVar = (
        *(f"student.{key}" for key in ("seeds", "variants", "against", "match", "model", *STUDENT_INIT_KEYS)),
        *("teacher.model", "teacher.fine_tune"),
    )

    name: str
    """Name of the run; its folder is `storage/name`."""
    storage: StoragePath = Field(STORAGE, validate_default=True)
    """Folder, or s3://, gs://, hdfs:// address, that every node sees; prepared data is cached in its `cache`."""
    seed: int = Field(1, ge=0)
    """Seed of the teacher's training."""
    data: DataConfig
    """Data files and their columns."""
    teacher: AnyTeacher | None = None
    """The large model, a classifier unless `kind` says otherwise; null only with `logits.file` or `teachers`."""
    teachers: tuple[AnyWeightedTeacher, ...] = ()
    """Several teachers instead of one: students learn from the weighted average of their logits."""
    logits: LogitsConfig = LogitsConfig()
    """The teacher's logits."""
    student: StudentConfig
    """The small model."""
    augment: AugmentConfig | None = None
    """Augmented views of the training rows, for variants with `augment: true`."""
    compute: ComputeConfig = ComputeConfig()
    """Workers, devices and timeouts."""
    tracking: TrackingConfig = TrackingConfig()
    """Experiment tracking."""

    @property
    def every_teacher(self) -> tuple[WeightedTeacher | WeightedCausalTeacher, ...]:
        """The teacher or teachers; empty without any."""
        if self.teacher is None:
            return self.teachers
        weighted = WeightedCausalTeacher if isinstance(self.teacher, CausalTeacherConfig) else WeightedTeacher
        return (weighted.model_validate(self.teacher.model_dump()),)

    @property
    def every_classifier(self) -> tuple[WeightedTeacher, ...]:
        """Those of the teachers that are sequence classifiers."""
        return tuple(one for one in self.every_teacher if isinstance(one, WeightedTeacher))

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about valid but suspicious settings, one sentence each."""
        found = [
            f"{one.key('objective')}.{warning}" for one in self.student_variants for warning in one.student.objective.warnings
        ]
        return tuple(dict.fromkeys(found))

    @property
    def student_variants(self) -> tuple[StudentVariant, ...]:
        """The students that are trained and compared; the first is the baseline."""
        return self.student.resolved_variants()

    @property
    def learns_from_layers(self) -> bool:
        """True when a student learns from the teacher's layers."""
        return any(one.student.intermediate is not None for one in self.student_variants)

    @property
    def distils_from_teacher(self) -> bool:
        """True when a student learns from a teacher's logits, computed or given."""
        return self._has_logits and any(one.student.objective.distils for one in self.student_variants)

    @property
    def _has_logits(self) -> bool:
        return bool(self.every_teacher) or self.logits.file is not None

    @property
    def selected_training(self) -> TrainingConfig:
        """The searched student's training."""
        return self.searched_variant.student.training

    @property
    def searched_variant(self) -> StudentVariant:
        """The student that a search trains with different values: the last variant."""
        return self.student_variants[-1]

    @property
    def teacher_models(self) -> tuple[str, ...]:
        """Models of the teachers."""
        return tuple(one.model for one in self.every_teacher)

    @property
    def student_models(self) -> tuple[str, ...]:
        """Models that the students' weights and tokenizers come from, each once."""
        return tuple(dict.fromkeys(map(self.source_model, self.student_variants)))

    def source_model(self, variant: StudentVariant) -> str:
        """The model that a student's weights and tokenizer come from: its own, or the teacher before it is fine-tuned."""
        return self.teacher.model if variant.student.from_teacher and self.teacher is not None else variant.student.model

    @property
    def shared_work(self) -> str:
        """Name of the work that is done once for all trials of a search."""
        return "teacher and logits"

    @property
    def task(self) -> str:
        """Kind of the task."""
        return self.data.task

    def default_space(self) -> dict[str, dict[str, Any]]:
        """Temperature and alpha, where the objective has them."""
        space: dict[str, dict[str, Any]] = {
            "temperature": {"kind": "loguniform", "low": 1.0, "high": 10.0},
            "alpha": {"kind": "uniform", "low": 0.0, "high": 1.0},
        }
        searched = self.searched_variant
        usual = {key: one for key, one in space.items() if hasattr(searched.student.objective, key)}
        return {f"student.objective.{key}": one for key, one in usual.items() if not searched.sets(f"objective.{key}")}

    def trains_baseline(self, path: str) -> bool:
        """True for the student's training; the student without distillation has the epochs of the intermediate one too."""
        shared = path.startswith("student.training.") or path == "student.intermediate.training.epochs"
        return shared and not self.student_variants[0].sets(path.removeprefix("student."))

    def check_searchable(self) -> None:
        """Raise ValueError without distillation, labels or test rows."""
        check_searched(self.student_variants)
        if not self.data.traits.takes_labels:
            raise ValueError(
                f"base: data.task = {self.data.task}: verdicts of a search count right rows; search a classification task"
            )
        if self.data.label is None or not self.data.has_test_set:
            raise ValueError(
                "base: a search needs labels (data.label) and rows that it never sees for its verdict (data.test: files, or a "
                "fraction of data.train)"
            )

    def refuse_population(self) -> str | None:
        """Return the reason why population-based training cannot search the job, or None."""
        if self.searched_variant.student.intermediate is None:
            return None
        return (
            "population-based training changes the values of one training on logits, and student.intermediate trains on "
            "features too; use another scheduler, or remove that section"
        )

    def refuse_path(self, path: str) -> str | None:
        """Return the reason why trials cannot differ in a value: also that the searched variant sets it itself."""
        searched = self.searched_variant
        if path.startswith("student.") and searched.sets(path.removeprefix("student.")):
            return (
                f"the searched student, the last of student.variants, sets {searched.key(path.removeprefix('student.'))} itself"
            )
        return super().refuse_path(path)

    def refuse_teacher(self) -> str | None:
        """Return the reason why trials cannot train teachers of their own, or None."""
        if self.logits.file is not None:
            return f"the logits come from logits.file = {self.logits.file}, so no teacher is trained; leave it out"
        if isinstance(self.teacher, CausalTeacherConfig):
            return "teacher.kind = causal_lm takes the teacher as it is; search values of student"
        if self.teacher is not None and not self.teacher.fine_tune:
            return "teacher.fine_tune = false takes the teacher as it is; set it to true, or search values of student"
        folds = self.logits.folds
        if folds is not None:
            return f"logits.folds = {folds} trains {folds + 1} teachers for each value; leave logits.folds out"
        return None

    @model_validator(mode="before")
    @classmethod
    def _fill_models(cls, content: Any) -> Any:
        return with_teacher_model(with_teacher_kind(content))

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(f"name = {self.name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit")
        if self.teacher is not None and self.teachers:
            raise ValueError("both teacher and teachers are given; list the teacher among teachers, or remove one of the two")
        for variant in self.student_variants:
            check_variant(variant, teacher=self.teacher, teachers=self.teachers, has_logits=self._has_logits)
            check_task(variant, self.data)
        if self.logits.folds is not None:
            self._check_folds(self.logits.folds)
        self._check_class_weights()
        self.logits.check_data(self.data)
        check_causal_teachers(self.every_teacher, self.data)
        if self.data.label is None:
            self._check_unlabelled()
        for key, given in (("data.unlabelled", self.data.unlabelled), ("augment", self.augment)):
            if given:
                check_scored_rows(key, logits_file=self.logits.file, distils=self.distils_from_teacher)
        check_augment(self.augment, self.student_variants)
        return self

    def _check_class_weights(self) -> None:
        given = [("teacher.training.class_weights", teacher.training) for teacher in self.every_classifier]
        given += [(one.key("training.class_weights"), one.student.training) for one in self.student_variants]
        weighed = [key for key, training in given if training.class_weights != "none"]
        if weighed and (self.data.label is None or self.data.traits.outputs != "classes"):
            raise ValueError(
                f"{weighed[0]} = balanced needs rows with one class each (data.label, and data.task = "
                "single_label); leave it out"
            )
        for one in self.student_variants:
            if one.student.training.class_weights != "none" and one.student.objective.custom_class is not None:
                raise ValueError(
                    f"{one.key('training.class_weights')} = balanced weighs the losses that raykd has, but "
                    f"{one.key('objective')}.kind = custom computes its own; weigh the rows there, and leave class_weights out"
                )

    def _check_folds(self, folds: int) -> None:
        if self.logits.file is not None or not self.every_teacher:
            raise ValueError(
                f"logits.folds = {folds} trains teachers, but the logits come from logits.file; leave one of them out"
            )
        taken = next((teacher for teacher in self.every_teacher if not teacher.fine_tune), None)
        if taken is not None:
            tuned = "fine_tune = false; set it to true" if isinstance(taken, TeacherConfig) else "kind = causal_lm"
            raise ValueError(
                f"logits.folds = {folds} trains a teacher for each fold, but {taken.model} has {tuned}, or leave logits.folds "
                "out"
            )

    def _check_unlabelled(self) -> None:
        needs = [
            ("teacher.fine_tune = true", self.logits.file is None and any(one.fine_tune for one in self.every_teacher)),
            *(
                (f"{variant.key('objective')}.{setting} (variant {variant.name})", True)
                for variant in self.student_variants
                for setting in variant.student.objective.needs_labels_for
            ),
        ]
        for setting, needed in needs:
            if needed:
                raise ValueError(f"data.label is not set, but {setting} needs labels; name the label column or change that")
