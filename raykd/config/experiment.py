"""The whole experiment: one frozen object that a job file, overrides and the command lines are turned into."""

import re
from typing import Literal, Self

from pydantic import Field, model_validator

from raykd.config.base import Section
from raykd.config.data import DataConfig
from raykd.config.objectives import ObjectiveConfig, VanillaKD
from raykd.config.training import ComputeConfig, ModelTask

STORAGE = "runs"
"""Where results go when a job file does not say."""


class TeacherConfig(ModelTask):
    """The large model."""

    fine_tune: bool = True
    """Whether it is trained first; false takes `model` as an already fine-tuned classifier for these labels."""


class LogitsConfig(Section):
    """The teacher's logits on the training rows."""

    file: str | None = None
    """Logits made elsewhere: a TSV whose line i belongs to training row i, values joined by commas. No teacher runs then."""
    column: int = Field(0, ge=0)
    """Column of that file that holds the logits, from 0."""


class StudentConfig(ModelTask):
    """The small model."""

    objective: ObjectiveConfig = VanillaKD()
    """What the student minimises."""
    baseline: bool = True
    """Whether the same student is also trained on hard labels alone; without it no gain can be shown."""
    seeds: tuple[int, ...] = (1,)
    """One student, and one baseline, for each seed."""

    @model_validator(mode="after")
    def _check_seeds(self) -> Self:
        if not self.seeds or len(set(self.seeds)) != len(self.seeds):
            raise ValueError(f"student.seeds = {list(self.seeds)}: give at least one seed, each once")
        return self


class TrackingConfig(Section):
    """Where figures go while training runs."""

    kind: Literal["none", "wandb", "tensorboard"] = "none"
    """none, Weights & Biases (offline without a key), or TensorBoard."""
    project: str = "raykd"
    """Project name in Weights & Biases."""


class ExperimentConfig(Section):
    """A distillation from TSV files to a comparison table."""

    name: str
    """Name of the run; its folder is `storage/name`."""
    storage: str = STORAGE
    """Folder, or s3://, gs://, hdfs:// address, that every node sees; prepared data is cached in its `cache`."""
    seed: int = Field(1, ge=0)
    """Seed of the teacher's training."""
    data: DataConfig
    """Rows and their columns."""
    teacher: TeacherConfig | None = None
    """The large model; none only with `logits.file`."""
    logits: LogitsConfig = LogitsConfig()
    """The teacher's logits."""
    student: StudentConfig
    """The small model."""
    compute: ComputeConfig = ComputeConfig()
    """Workers, processors and waits."""
    tracking: TrackingConfig = TrackingConfig()
    """Where figures go while training runs."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(f"name = {self.name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit")
        distils = self.student.objective.kind != "fine_tune"
        if distils and self.teacher is None and self.logits.file is None:
            raise ValueError("student.objective distils, but there is neither a teacher nor logits.file; give one of them")
        if self.data.multi_label and self.student.objective.kind in ("decoupled_kd", "dist_kd"):
            raise ValueError(
                f"student.objective.kind = {self.student.objective.kind} is about the one class of a row; with "
                "data.multi_label = true use vanilla_kd (label by label) or mse_kd"
            )
        if self.data.label is None:
            self._check_unlabelled()
        return self

    def _check_unlabelled(self) -> None:
        objective = self.student.objective
        alpha, final = getattr(objective, "alpha", 0.0), getattr(objective, "final_alpha", None)
        needs = [
            ("teacher.fine_tune = true", self.teacher is not None and self.logits.file is None and self.teacher.fine_tune),
            ("student.baseline = true", self.student.baseline),
            (f"student.objective.alpha = {alpha}", alpha != 1.0),
            (f"student.objective.final_alpha = {final}", final not in (None, 1.0)),
            ("student.objective.kind = decoupled_kd", objective.kind == "decoupled_kd"),
        ]
        for what, needed in needs:
            if needed:
                raise ValueError(f"data.label is not set, but {what} needs labels; name the label column or change that")
