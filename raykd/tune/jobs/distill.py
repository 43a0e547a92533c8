"""Searches of a distillation: trials share tokenised rows, the teacher and its logits."""

import math
from dataclasses import dataclass

from raykd.config import ExperimentConfig, with_values
from raykd.config.stage_names import Split
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.pipeline import DistillationPipeline
from raykd.distill.tasks import run_folder, student_tasks, teacher_task
from raykd.errors import ConfigError
from raykd.models import model_digest
from raykd.run.progress import Terminal
from raykd.run.task import Phase
from raykd.run.train_task import total_steps
from raykd.tune.jobs.base import AdaptTask, JobPlan, TaskChain, Variant
from raykd.tune.trial_record import Schedule
from raykd.tune.trial_teacher import TrialTeacher, make_trial_teacher


@dataclass(frozen=True)
class DistillationPlan(JobPlan[ExperimentConfig]):
    """A student from teacher logits: chains of one task. Paths, since it travels to other machines."""

    base: ExperimentConfig
    train: str
    """Tokenised training rows."""
    validation: str
    """Tokenised validation rows."""
    logits: str
    """Side table of teacher logits."""
    digest: str
    """Hash of the student's initial model."""
    teacher_rows: tuple[str, str] | None = None
    """Training and validation rows tokenised for the teacher; None when no trial can train a teacher."""

    @property
    def chain_length(self) -> int:
        """One task."""
        return 1

    def trial_teacher(self, config: ExperimentConfig) -> TrialTeacher | None:
        """The teacher of students with this configuration; None for the job's own."""
        if config.teacher == self.base.teacher or config.teacher is None or self.teacher_rows is None:
            return None
        train, validation = map(TokenisedSet.open, self.teacher_rows)
        task = teacher_task(config, train=train, validation=validation, digest=model_digest(config.teacher.model))
        return make_trial_teacher(task, folder=run_folder(self.base), rows=train.path)

    def chains(
        self, config: ExperimentConfig, *, variant: Variant, seed: int, folder: str, adapt: AdaptTask
    ) -> dict[str, TaskChain]:
        """One chain of one task."""
        own = None if variant == "no_kd" else self.trial_teacher(config)
        student = config.student.model_copy(update={"seeds": (seed,), "baseline": True})
        tasks = student_tasks(
            config.model_copy(update={"student": student}),
            train=TokenisedSet.open(self.train),
            validation=TokenisedSet.open(self.validation),
            logits=SideTable.open(own.logits() if own else self.logits),
            digest=self.digest,
        )
        task = tasks[0] if variant == "no_kd" else tasks[-1]
        return {"": iter([adapt(task.model_copy(update={"folder": folder}), domain="", last=True)])}

    def num_steps(self, config: ExperimentConfig, max_steps: int | None) -> int:
        """Optimiser steps of the student's training, at most ``max_steps``."""
        training = config.student.training
        total = total_steps(training, math.ceil(TokenisedSet.open(self.train).num_rows / training.batch_size))
        return total if max_steps is None else min(total, max_steps)

    def phases(self, schedule: Schedule) -> tuple[Phase, ...]:
        """Learning rate and objective of each later part of the schedule."""
        students = [(start, with_values(self.base, values).student) for start, values in schedule[1:]]
        return tuple(
            Phase(start=start, learning_rate=student.training.learning_rate, objective=student.objective)
            for start, student in students
        )


class DistillationWork:
    """Teacher and logits of a distillation."""

    def __init__(self, base: ExperimentConfig, terminal: Terminal) -> None:
        self.base = base
        self.pipeline = DistillationPipeline(base, terminal=terminal)

    def check(self) -> None:
        """Check models and files before anything starts. Raises RaykdError."""
        self.pipeline.check()

    def make_plan(self) -> DistillationPlan:
        """Train the teacher and export its logits; finished stages are skipped."""
        logits = self.pipeline.logits()
        if logits is None:
            raise ConfigError("base: student.objective distils nothing, so there is nothing to search")
        model = self.base.student.model
        own = self.base.teacher is not None and self.base.logits.file is None
        return DistillationPlan(
            base=self.base,
            train=self.pipeline.tokenised("train", model).path,
            validation=self.pipeline.tokenised("validation", model).path,
            logits=logits.path,
            digest=model_digest(model),
            teacher_rows=(self._teacher_rows("train"), self._teacher_rows("validation")) if own else None,
        )

    def _teacher_rows(self, split: Split) -> str:
        return self.pipeline.tokenised(split, self.base.every_teacher[0].model).path

    def test_rows(self) -> dict[str, TokenisedSet]:
        """Rows that the search never sees, tokenised for the student."""
        return {"": self.pipeline.tokenised("test", self.base.student.model)}

    def teacher(self) -> tuple[str, dict[str, TokenisedSet]] | None:
        """Folder of the trained teacher, and the test rows tokenised for it; None without a single teacher."""
        teachers = self.pipeline.teachers.candidates()
        if len(teachers) != 1:  # students learn from the mean of several, which no single one represents
            return None
        return teachers[0].model, {"": self.pipeline.tokenised("test", teachers[0].tokenizer)}

    def close(self) -> None:
        """Release the workers."""
        self.pipeline.runner.close()
