"""Teachers: fine-tuned, their logits on the training rows, averaged and cross-fitted where asked for."""

from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

from raykd.config import CausalTeacherConfig, ExperimentConfig
from raykd.config.student import Rows
from raykd.data import storage
from raykd.data.folds import Fold, assign_folds
from raykd.data.logits_mix import average_logits, gather_folds
from raykd.data.prompts import PromptTokenizer
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.given_logits import import_logits
from raykd.distill.prompted_teacher import PromptedTeacher, prompted_teacher
from raykd.distill.report import Candidate, measure_teacher
from raykd.distill.split_rows import SplitRows
from raykd.distill.tasks import teacher_name, teacher_task
from raykd.distill.training_rows import LABELLED_ROWS, TrainingRows
from raykd.errors import ConfigError
from raykd.models import model_digest
from raykd.predict import ScoreJob
from raykd.run.stages import Stage, StageRunner
from raykd.run.task import TrainTask, cache_folder
from raykd.task_kinds import task_kind

ENSEMBLE = "teacher ensemble"
"""Display name of several teachers whose logits are averaged."""
VALIDATION: Literal["validation"] = "validation"
"""Rows that teachers score besides the training rows: unseen ones, which show how far their confidence is justified."""
RowsByTeacher = dict[tuple[str, int], TokenisedSet]
"""Rows to score, by their kind (or ``validation``) and the number of the teacher whose tokens they are."""


class Teachers:
    """The teachers of one experiment and their logits; each method makes its result if it is not there."""

    def __init__(self, config: ExperimentConfig, runner: StageRunner, splits: SplitRows, training_rows: TrainingRows) -> None:
        self.config = config
        self.configs = config.every_teacher
        self._runner = runner
        self._training_rows = training_rows
        self._splits = splits
        self._tables: dict[str, SideTable] = {}
        self.weights = [config.weight for config in self.configs]
        self.quality: dict[str, Any] | None = None
        """Quality of the teacher, known once it has scored labelled rows."""
        self.validation: dict[str, SideTable] = {}
        """Logits on the validation rows by the candidate's name, known once :meth:`logits` has made them."""

    @cached_property
    def prompted(self) -> list[PromptedTeacher | None]:
        """Prompts and answers of each teacher that is a language model; ``None`` for a classifier."""
        return [prompted_teacher(self.config, one) if isinstance(one, CausalTeacherConfig) else None for one in self.configs]

    def prompts(self, number: int) -> PromptTokenizer | None:
        """The tokenizer of a language model's prompts; ``None`` for a classifier, which reads the texts alone."""
        asked = self.prompted[number]
        return None if asked is None else asked.tokenizer

    @cached_property
    def tasks(self) -> list[TrainTask | None]:
        """Fine-tuning of each teacher on all labelled rows; ``None`` for one that is used as given."""
        return [self._task(number) if config.fine_tune else None for number, config in enumerate(self.configs)]

    @cached_property
    def fold_tasks(self) -> list[list[TrainTask]]:
        """For each teacher its trainings that leave out one fold; empty unless logits are cross-fitted."""
        if self.config.logits.folds is None:
            return [[] for _ in self.configs]
        return [[self._task(number, fold) for fold in self._folds(config.model)] for number, config in enumerate(self.configs)]

    def models(self) -> list[str]:
        """Folder of each trained teacher; the teachers of folds are trained too."""
        if not self.configs:
            raise ConfigError("stage teacher: the configuration has no teacher, only logits.file")
        tasks = [task for task in self.tasks if task is not None] + [task for each in self.fold_tasks for task in each]
        self._runner.train("teacher", tasks)
        pairs = zip(self.configs, self.tasks, strict=True)
        return [config.model if task is None else task.model_folder for config, task in pairs]

    def candidates(self) -> list[Candidate]:
        """Each teacher as the report compares it."""
        found: list[Candidate] = []
        if not self.configs:
            return found
        for number, (config, task, model) in enumerate(zip(self.configs, self.tasks, self.models(), strict=True)):
            history = task.history if task else None
            name, asked = teacher_name(self.config, number), self.prompted[number]
            found.append(Candidate("teacher", name, None, model, config.model, history, prompted=asked))
        return found

    def logits(self) -> SideTable | None:
        """The logits of the last variant, after those of all variants were made; ``None`` without distillation."""
        if not self.config.distils_from_teacher:
            return None
        self._tables_of(self._training_rows.distilled_kinds)
        searched = self.config.searched_variant
        return self.logits_of(rows=searched.rows, augment=searched.augment)

    def logits_of(self, *, rows: Rows, augment: bool) -> SideTable:
        """The logits of one student's training rows."""
        tables = self._tables_of(self._training_rows.kinds(rows=rows, augment=augment))
        folder = storage.join(self._runner.folder, "logits")
        return self._training_rows.join_logits(tables, folder, rows=rows, augment=augment)

    def _tables_of(self, kinds: Sequence[str]) -> dict[str, SideTable]:
        """Logits by the kind of rows; those that are not there yet are made in one go."""
        missing = [kind for kind in kinds if kind not in self._tables]
        file = self.config.logits.file
        if missing:
            self._tables |= self._scored(missing) if file is None else {kind: self._given(file, kind) for kind in missing}
        return {kind: self._tables[kind] for kind in kinds}

    def _given(self, file: str, kind: str) -> SideTable:
        prepared = self._training_rows.of_kind(kind, self.config.student_models[0])
        part = kind if self.config.data.has_unlabelled_rows else None
        return import_logits(self.config, file, prepared, self._runner, kind=part)

    def _scored(self, kinds: Sequence[str]) -> dict[str, SideTable]:
        """The teachers' logits on each kind of rows; labelled rows bring the validation rows with them."""
        models = self.models()
        rows = {kind: self._rows_of(kind) for kind in kinds}
        stages = {kind: self._stage(kind, models, own) for kind, own in rows.items()}
        todo = {kind: stage for kind, stage in stages.items() if not self._runner.skip_or_begin(stage)}
        if todo:
            self._score(models, {key: one for kind in todo for key, one in rows[kind].items()})
        for kind, stage in todo.items():
            stage.finish(**({"quality": self._teacher_quality(rows[kind])} if kind == LABELLED_ROWS else {}))
        if LABELLED_ROWS in kinds:
            self.quality = stages[LABELLED_ROWS].results()["quality"]
            self.validation = self._validation_tables(stages[LABELLED_ROWS].folder, self._combined(VALIDATION))
        return {kind: SideTable.open(self._combined(kind)) for kind in kinds}

    def _rows_of(self, kind: str) -> RowsByTeacher:
        """The rows that one stage scores."""
        names = (LABELLED_ROWS, VALIDATION) if kind == LABELLED_ROWS else (kind,)
        return {(name, number): self._rows(name, number) for name in names for number in range(len(self.configs))}

    def _stage(self, kind: str, models: Sequence[str], rows: RowsByTeacher) -> Stage:
        trained = [*models, *(task.model_folder for each in self.fold_tasks for task in each if kind == LABELLED_ROWS)]
        fingerprints = [one.fingerprint for one in rows.values()]
        name = "logits" if kind == LABELLED_ROWS else f"logits/{kind}"
        asked = [one.key for one in self.prompted if one is not None]
        digests = [model_digest(model) for model in trained]
        return self._runner.stage(name, fingerprints, digests, self.weights, *([asked] if asked else []))

    def _combined(self, name: str) -> str:
        """Folder of the logits that students learn from: the teacher's, or the average over several."""
        return storage.join(self._runner.folder, "logits", name)

    def _validation_tables(self, folder: str, combined: str) -> dict[str, SideTable]:
        if len(self.configs) == 1:
            return {teacher_name(self.config, 0): SideTable.open(combined)}
        single = {
            teacher_name(self.config, number): SideTable.open(storage.join(folder, f"teacher-{number + 1}", "validation"))
            for number in range(len(self.configs))
        }
        return {ENSEMBLE: SideTable.open(combined), **single}

    def average(self, scored: Sequence[SideTable], rows: TokenisedSet, out: str) -> SideTable:
        """The weighted average of all teachers' logits on the same rows."""
        return average_logits(scored, self.weights, rows, out)

    def _score(self, models: Sequence[str], rows: RowsByTeacher) -> None:
        """Make every teacher's logits, in ``logits`` itself for one teacher, below it for several, and their average."""
        folder = storage.join(self._runner.folder, "logits")
        outs = {
            (name, number): storage.join(folder, *([f"teacher-{number + 1}"] if len(models) > 1 else []), name)
            for name, number in rows
        }
        jobs = []
        for (name, number), prepared in rows.items():
            if name == LABELLED_ROWS and self.fold_tasks[number]:
                jobs += self._fold_jobs(number, prepared, outs[name, number])
            else:
                asked = self.prompted[number]
                make = ScoreJob if asked is None else asked.job
                jobs.append(make(models[number], prepared.path, outs[name, number]))
        made = {table.path: table for table in self._runner.score(jobs, "teacher logits")}
        for number, tasks in enumerate(self.fold_tasks):
            if tasks and (LABELLED_ROWS, number) in rows:
                prepared, out = rows[LABELLED_ROWS, number], outs[LABELLED_ROWS, number]
                tables = [made[job.output] for job in self._fold_jobs(number, prepared, out)]
                gather_folds(tables, self._folds(self.configs[number].model), prepared, out)
        if len(models) > 1:
            for name in dict.fromkeys(name for name, _ in rows):
                sides = [SideTable.open(outs[name, number]) for number in range(len(models))]
                average_logits(sides, self.weights, rows[name, 0], self._combined(name))

    def _fold_jobs(self, number: int, prepared: TokenisedSet, out: str) -> list[ScoreJob]:
        """Each fold scored by the teacher that was trained without it."""
        return [
            ScoreJob(task.model_folder, prepared.path, f"{out}-fold-{task.without.number + 1}", only=task.without)
            for task in self.fold_tasks[number]
            if task.without is not None
        ]

    def _teacher_quality(self, rows: RowsByTeacher) -> dict[str, Any] | None:
        """The teacher's quality, printed before students are trained; ``None`` without labels."""
        if rows[LABELLED_ROWS, 0].labels is None:
            return None
        train, validation = ((rows[name, 0], SideTable.open(self._combined(name))) for name in (LABELLED_ROWS, VALIDATION))
        kind = task_kind(self.config.data.task)
        quality = measure_teacher(train, validation, kind)
        headlines = [
            f"{side.headline:.4f} on {split} rows"
            for split, side in (("training", quality.train), ("validation", quality.validation))
        ]
        name = ENSEMBLE if len(self.configs) > 1 else "teacher"
        scored = "" if self.config.logits.folds is None else ", each training row by a teacher that never saw it"
        self._runner.terminal.print_line(f"{name}{scored}: {kind.headline.title} {', '.join(headlines)}")
        for warning in quality.warnings:
            self._runner.terminal.print_line(f"warning: {warning}")
        return quality.model_dump(mode="json")

    def _rows(self, name: str, number: int) -> TokenisedSet:
        """The rows of a kind, or the validation set, as a teacher's tokens."""
        model, prompts = self.configs[number].model, self.prompts(number)
        if name == VALIDATION:
            return self._splits.tokenised(VALIDATION, model, prompts)
        return self._training_rows.of_kind(name, model, prompts)

    def _folds(self, model: str) -> list[Fold]:
        assert self.config.logits.folds is not None
        return assign_folds(
            self._training_rows.of_kind(LABELLED_ROWS, model), self.config.logits.folds, cache_folder(self.config)
        )

    def _task(self, number: int, without: Fold | None = None) -> TrainTask:
        return teacher_task(
            self.config,
            number=number,
            train=self._rows(LABELLED_ROWS, number),
            validation=self._rows(VALIDATION, number),
            digest=model_digest(self.configs[number].model),
            without=without,
        )
