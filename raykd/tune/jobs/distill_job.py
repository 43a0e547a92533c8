"""Searches of a distillation: trials share tokenised rows, the teacher and its logits."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from raykd.config import ExperimentConfig, StudentVariant, TeacherConfig, with_values
from raykd.data import storage
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.pipeline import DistillationPipeline
from raykd.distill.student_models import make_student
from raykd.distill.tasks import (
    StudentInputs,
    intermediate_task,
    student_task,
    teacher_task,
)
from raykd.distill.training_length import match_lengths
from raykd.errors import ConfigError
from raykd.models import model_digest
from raykd.progress import Terminal
from raykd.run.build_objective import BuildObjective, build_objective
from raykd.run.task import ModelFolder, Phase, model_folder, run_folder
from raykd.tune.jobs.job_plan import AdaptTask, JobPlan, TaskChain, Variant, moved_task
from raykd.tune.trial_record import ValueSchedule
from raykd.tune.trial_teacher import TrialTeacher, make_trial_teacher


@dataclass(frozen=True)
class DistillationPlan(JobPlan[ExperimentConfig]):
    """A student from teacher logits, and from the teacher's layers where the job asks for it."""

    base: ExperimentConfig
    train: str
    """Tokenised training rows of the searched student."""
    validation: str
    """Tokenised validation rows."""
    logits: str
    """Side table of teacher logits on them."""
    starts: Mapping[str, ModelFolder]
    """Initial models of the baseline and the searched student, by variant."""
    vocabulary: str | None = None
    """Folder of the searched student's reduced vocabulary; None for one with all tokens of its model."""
    teacher: str = ""
    """Folder of the trained teacher; empty unless students learn from its layers."""
    teacher_rows: tuple[str, str, str] | None = None
    """Labelled training rows, validation rows and the searched student's rows, tokenised for the teacher; None when no trial
    can train a teacher."""
    baseline: tuple[str, str | None] | None = None
    """Tokenised training rows of the baseline, and the logits that it distils from; None for those of the searched student."""

    @property
    def build_objective(self) -> BuildObjective:
        """The builder for every kind of job."""
        return build_objective

    @property
    def chain_length(self) -> int:
        """Two tasks with intermediate-layer distillation before the objective, else one."""
        return 2 if self.base.searched_variant.has_intermediate_task else 1

    def trial_teacher(self, config: ExperimentConfig) -> TrialTeacher | None:
        """The teacher of students with this configuration; None for the job's own."""
        if config.teacher == self.base.teacher or config.teacher is None or self.teacher_rows is None:
            return None
        train, validation, scored = map(TokenisedSet.open, self.teacher_rows)
        task = teacher_task(config, train=train, validation=validation, digest=model_digest(config.teacher.model))
        return make_trial_teacher(task, folder=run_folder(self.base), rows=scored.path)

    def chains(
        self, config: ExperimentConfig, *, variant: Variant, seed: int, folder: str, adapt: AdaptTask
    ) -> dict[str, TaskChain]:
        """One chain, of the searched student or of the baseline."""
        return {"": self._chain(config, variant, seed=seed, folder=folder, adapt=adapt)}

    def num_steps(self, config: ExperimentConfig, max_steps: int | None) -> int:
        """Optimiser steps of the student's trainings, each of at most ``max_steps``."""
        rows = TokenisedSet.open(self.train).num_rows
        student = config.searched_variant
        section = student.student.intermediate
        trainings = [student.student.training, *([section.own_training] if section and student.has_intermediate_task else [])]
        totals = [one.num_steps(rows) for one in trainings]
        return sum(total if max_steps is None else min(total, max_steps) for total in totals)

    def _chain(self, config: ExperimentConfig, variant: Variant, *, seed: int, folder: str, adapt: AdaptTask) -> TaskChain:
        student = config.student_variants[0 if variant == "no_kd" else -1]
        own = self.trial_teacher(config) if student.student.objective.distils else None
        inputs = self._inputs(config, student, own)
        if own is not None and student.student.from_teacher:
            start = storage.join(folder, "initial")
            make_student(student, own.model, start, vocabulary=self.vocabulary)
            inputs = replace(inputs, start=model_folder(start))
        initial = None
        intermediate = intermediate_task(config, inputs, seed)
        if intermediate is not None:
            task = adapt(moved_task(intermediate, storage.join(folder, "intermediate")), domain="", last=False)
            yield task
            initial = model_folder(task.model_folder)
        if own is not None:
            inputs = replace(inputs, logits=SideTable.open(own.logits()))
        task = student_task(config, inputs, seed, initial=initial)
        yield adapt(moved_task(task, folder), domain="", last=True)

    def _inputs(self, config: ExperimentConfig, student: StudentVariant, own: TrialTeacher | None) -> StudentInputs:
        """The rows and lengths of a student; ``own`` is the teacher of its trial."""
        baseline, searched = config.student_variants[0], config.searched_variant
        tables = {baseline.name: self.baseline or (self.train, self.logits), searched.name: (self.train, self.logits)}
        rows = {name: TokenisedSet.open(train) for name, (train, _) in tables.items()}
        counts = {name: one.num_rows for name, one in rows.items()}
        lengths = match_lengths((baseline, searched), counts, unit=config.student.match)
        logits = tables[student.name][1]
        learns = student.student.intermediate is not None
        return StudentInputs(
            variant=student,
            start=self.starts[student.name],
            tokenizer=config.source_model(student),
            train=rows[student.name],
            validation=TokenisedSet.open(self.validation),
            logits=None if logits is None else SideTable.open(logits),
            length=lengths[student.name],
            teacher=model_folder(own.model if own else self.teacher) if learns else None,
        )

    def phases(self, schedule: ValueSchedule) -> tuple[Phase, ...]:
        """Learning rate and objective of each later part of the schedule."""
        students = [(start, with_values(self.base, values).searched_variant.student) for start, values in schedule[1:]]
        return tuple(
            Phase(start=start, learning_rate=student.training.learning_rate, objective=student.objective)
            for start, student in students
        )


class DistillationWork:
    """Teacher and logits of a distillation."""

    def __init__(self, base: ExperimentConfig, terminal: Terminal) -> None:
        self.pipeline = DistillationPipeline(base, terminal=terminal)

    @property
    def base(self) -> ExperimentConfig:
        """The job, with the labels of its rows."""
        return self.pipeline.config

    def check(self) -> None:
        """Check models and files before anything starts. Raises RaykdError."""
        baseline, searched = self.base.student_variants[0], self.base.searched_variant
        tokens = [(self.base.source_model(one), one.student.vocabulary) for one in (baseline, searched)]
        if tokens[0] != tokens[1]:
            raise ConfigError(
                f"base: the students {baseline.name} and {searched.name} read different tokens, but a search tokenises rows "
                "once; set model, init.from and vocabulary in student, not in one of its variants"
            )
        self.pipeline.check()

    def make_plan(self) -> DistillationPlan:
        """Train the teacher and export its logits; finished stages are skipped."""
        logits = self.pipeline.logits()
        if logits is None:
            raise ConfigError("base: no student distils, so there is nothing to search")
        searched, rows = self.base.searched_variant, self.pipeline.training_rows
        models = self.pipeline.student_models
        model = models.tokenizer(searched)
        own = isinstance(self.base.teacher, TeacherConfig) and self.base.logits.file is None
        return DistillationPlan(
            base=self.base,
            train=rows.of(model, rows=searched.rows, augment=searched.augment).path,
            validation=self.pipeline.tokenised("validation", model).path,
            logits=logits.path,
            starts={one.name: models.start(one) for one in (self.base.student_variants[0], searched)},
            vocabulary=models.vocabulary(searched),
            teacher=self.pipeline.teachers.models()[0] if self.base.learns_from_layers else "",
            teacher_rows=self._teacher_rows(searched) if own else None,
            baseline=self._baseline_rows(),
        )

    def _baseline_rows(self) -> tuple[str, str | None]:
        baseline = self.base.student_variants[0]
        chosen: dict[str, Any] = {"rows": baseline.rows, "augment": baseline.augment}
        logits = self.pipeline.teachers.logits_of(**chosen) if baseline.student.objective.distils else None
        train = self.pipeline.training_rows.of(self.pipeline.student_models.tokenizer(baseline), **chosen)
        return train.path, None if logits is None else logits.path

    def _teacher_rows(self, searched: StudentVariant) -> tuple[str, str, str]:
        model, rows = self.base.every_teacher[0].model, self.pipeline.training_rows
        validation = self.pipeline.tokenised("validation", model)
        labelled = rows.of(model, rows="labelled", augment=False)
        return labelled.path, validation.path, rows.of(model, rows=searched.rows, augment=searched.augment).path

    def test_rows(self) -> dict[str, TokenisedSet]:
        """Rows that the search never sees, tokenised for the student."""
        return {"": self.pipeline.tokenised("test", self.pipeline.student_models.tokenizer(self.base.searched_variant))}

    def teacher(self) -> tuple[str, dict[str, TokenisedSet]] | None:
        """Folder of the trained teacher, and the test rows tokenised for it; None without a single classifier."""
        teachers = self.pipeline.teachers.candidates()
        if len(teachers) != 1 or teachers[0].prompted is not None:  # of several no single one represents the mean
            return None
        return teachers[0].model, {"": self.pipeline.tokenised("test", teachers[0].tokenizer)}

    def close(self) -> None:
        """Release the workers."""
        self.pipeline.runner.close()
