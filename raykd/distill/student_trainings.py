"""The trainings of all students of one experiment: every variant with every seed."""

from collections.abc import Sequence
from dataclasses import dataclass

from raykd.config import ExperimentConfig, StudentVariant
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.split_rows import SplitRows
from raykd.distill.student_models import StudentModels
from raykd.distill.tasks import StudentInputs, intermediate_task, student_task
from raykd.distill.teachers import Teachers
from raykd.distill.training_length import match_lengths
from raykd.distill.training_rows import TrainingRows
from raykd.run.stages import StageRunner
from raykd.run.task import ModelFolder, TrainTask, model_folder


@dataclass(frozen=True)
class TrainedStudent:
    """A trained student: a variant with one seed."""

    inputs: StudentInputs
    task: TrainTask


class StudentTrainings:
    """Trains the students; what they need of the teachers is made where it is not there."""

    def __init__(
        self,
        config: ExperimentConfig,
        runner: StageRunner,
        *,
        splits: SplitRows,
        training_rows: TrainingRows,
        models: StudentModels,
        teachers: Teachers,
    ) -> None:
        self._config, self._runner = config, runner
        self._splits, self._training_rows, self._models, self._teachers = splits, training_rows, models, teachers

    def run(self) -> list[TrainedStudent]:
        """Train all variants with all seeds. Those that need no teacher train beside it, where resources are free."""
        self._runner.train_beside("students", self._independent_tasks())
        inputs, seeds = self._inputs(self._config.student_variants), self._config.student.seeds
        pairs = [(one, seed) for one in inputs for seed in seeds]
        first = {(one.variant.name, seed): intermediate_task(self._config, one, seed) for one, seed in pairs}
        self._runner.train("students", [task for task in first.values() if task is not None])
        tasks = []
        for one, seed in pairs:
            before = first[one.variant.name, seed]
            initial = None if before is None else model_folder(before.model_folder)
            tasks.append(student_task(self._config, one, seed, initial=initial))
        self._runner.train("students", tasks)
        return [TrainedStudent(one, task) for (one, _), task in zip(pairs, tasks, strict=True)]

    def _independent_tasks(self) -> list[TrainTask]:
        """Trainings of the variants that need no teacher."""
        alone = [one for one in self._config.student_variants if not one.student.needs_teacher]
        inputs = self._inputs(alone) if self._runner.is_wanted("teacher") else []
        return [student_task(self._config, one, seed) for one in inputs for seed in self._config.student.seeds]

    def _inputs(self, variants: Sequence[StudentVariant]) -> list[StudentInputs]:
        """Rows, initial weights and lengths of some variants; the teacher's results are made where these need them."""
        every = self._config.student_variants
        rows = {one.name: self._rows_of_variant(one) for one in every}
        lengths = match_lengths(every, {name: one.num_rows for name, one in rows.items()}, unit=self._config.student.match)
        if any(one.student.needs_teacher for one in variants):
            self._teachers.logits()
        return [
            StudentInputs(
                variant=variant,
                start=self._models.start(variant),
                tokenizer=self._models.tokenizer(variant),
                train=rows[variant.name],
                validation=self._splits.tokenised("validation", self._models.tokenizer(variant)),
                logits=self._logits_of(variant),
                length=lengths[variant.name],
                teacher=self._feature_teacher() if variant.student.intermediate is not None else None,
            )
            for variant in variants
        ]

    def _rows_of_variant(self, variant: StudentVariant) -> TokenisedSet:
        tokenizer = self._models.tokenizer(variant)
        return self._training_rows.of(tokenizer, rows=variant.rows, augment=variant.augment)

    def _logits_of(self, variant: StudentVariant) -> SideTable | None:
        if not variant.student.objective.distils:
            return None
        return self._teachers.logits_of(rows=variant.rows, augment=variant.augment)

    def _feature_teacher(self) -> ModelFolder | None:
        """The trained teacher whose layers students learn from; None without intermediate-layer distillation."""
        return model_folder(self._teachers.models()[0]) if self._config.learns_from_layers else None
