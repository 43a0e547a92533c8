"""Teachers: fine-tuned, their logits on the training rows, averaged and cross-fitted where asked for."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

from raykd.config import ExperimentConfig
from raykd.config.experiment import WeightedTeacher
from raykd.data import storage
from raykd.data.folds import Fold, assign_folds
from raykd.data.logits_mix import average_logits, gather_folds
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.given_logits import import_logits
from raykd.distill.report import Candidate, measure_teacher
from raykd.distill.tasks import teacher_name, teacher_task
from raykd.errors import ConfigError
from raykd.models import model_digest
from raykd.predict import ScoreJob
from raykd.run.stages import StageRunner
from raykd.run.task import TrainTask, cache_folder
from raykd.stage_names import Split
from raykd.task_kinds import task_kind

ENSEMBLE = "teacher ensemble"
"""Display name of several teachers whose logits are averaged."""
ScoredSplit = Literal["train", "validation"]
SCORED_SPLITS: tuple[ScoredSplit, ScoredSplit] = ("train", "validation")
"""Splits that teachers score: rows to distil from, and unseen rows, which show how far their confidence is justified."""
Tokenised = Callable[[Split, str], TokenisedSet]
"""Returns a split's rows as a model's tokens."""


class Teachers:
    """The teachers of one experiment and their logits; each method makes its result if it is not there."""

    def __init__(self, config: ExperimentConfig, runner: StageRunner, tokenised: Tokenised) -> None:
        self.config = config
        self.configs = config.every_teacher
        self._runner = runner
        self._tokenised = tokenised
        self.weights = [config.weight for config in self.configs]
        self.quality: dict[str, Any] | None = None
        """Quality of the teacher, known once it has scored labelled rows."""
        self.validation: dict[str, SideTable] = {}
        """Logits on the validation rows by the candidate's name, known once :meth:`logits` has made them."""

    @cached_property
    def tasks(self) -> list[TrainTask | None]:
        """Fine-tuning of each teacher on all rows; ``None`` for one that is used as given."""
        return [self._task(number, config) if config.fine_tune else None for number, config in enumerate(self.configs)]

    @cached_property
    def fold_tasks(self) -> list[list[TrainTask]]:
        """For each teacher its trainings that leave out one fold; empty unless logits are cross-fitted."""
        if self.config.logits.folds is None:
            return [[] for _ in self.configs]
        return [
            [self._task(number, config, fold) for fold in self._folds(config)] for number, config in enumerate(self.configs)
        ]

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
            found.append(Candidate("teacher", teacher_name(self.config, number), None, model, config.model, history))
        return found

    def logits(self) -> SideTable | None:
        """The logits that students distil from, on the training rows; ``None`` without distillation."""
        if not self.config.distils_from_teacher:
            return None
        if self.config.logits.file is not None:
            train = self._tokenised("train", self.config.student_models[0])
            return import_logits(self.config, self.config.logits.file, train, self._runner)
        models = self.models()
        rows = {(split, number): self._rows(split, number) for split in SCORED_SPLITS for number in range(len(models))}
        trained = [*models, *(task.model_folder for each in self.fold_tasks for task in each)]
        fingerprints = [one.fingerprint for one in rows.values()]
        stage = self._runner.stage("logits", fingerprints, [model_digest(model) for model in trained], self.weights)
        folders = {split: storage.join(stage.folder, split) for split in SCORED_SPLITS}
        if not self._runner.skip_or_begin(stage):
            made = self._score(stage.folder, models, rows)
            if len(models) > 1:
                for split in SCORED_SPLITS:
                    tables = [made[split, number] for number in range(len(models))]
                    average_logits(tables, self.weights, rows[split, 0], folders[split])
            stage.finish(quality=self._teacher_quality(rows, folders))
        self.quality = stage.results()["quality"]
        self.validation = self._validation_tables(stage.folder, folders["validation"])
        return SideTable.open(folders["train"])

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

    def _score(
        self, folder: str, models: Sequence[str], rows: Mapping[tuple[ScoredSplit, int], TokenisedSet]
    ) -> dict[tuple[ScoredSplit, int], SideTable]:
        """Every teacher's logits on both splits, in ``folder`` itself for one teacher, below it for several."""
        outs = {
            (split, number): storage.join(folder, *([f"teacher-{number + 1}"] if len(models) > 1 else []), split)
            for split, number in rows
        }
        jobs = []
        for (split, number), prepared in rows.items():
            if split == "train" and self.fold_tasks[number]:
                jobs += self._fold_jobs(number, prepared, outs[split, number])
            else:
                jobs.append(ScoreJob(models[number], prepared.path, outs[split, number]))
        made = {table.path: table for table in self._runner.score(jobs, "teacher logits")}
        for number, tasks in enumerate(self.fold_tasks):
            if tasks:
                prepared, out = rows["train", number], outs["train", number]
                tables = [made[job.output] for job in self._fold_jobs(number, prepared, out)]
                gather_folds(tables, self._folds(self.configs[number]), prepared, out)
        return {key: SideTable.open(out) for key, out in outs.items()}

    def _fold_jobs(self, number: int, prepared: TokenisedSet, out: str) -> list[ScoreJob]:
        """Each fold scored by the teacher that was trained without it."""
        return [
            ScoreJob(task.model_folder, prepared.path, f"{out}-fold-{task.without.number + 1}", only=task.without)
            for task in self.fold_tasks[number]
            if task.without is not None
        ]

    def _teacher_quality(
        self, rows: Mapping[tuple[ScoredSplit, int], TokenisedSet], folders: Mapping[ScoredSplit, str]
    ) -> dict[str, Any] | None:
        """The teacher's quality, printed before students are trained; ``None`` without labels."""
        if rows["train", 0].labels is None:
            return None
        train, validation = ((rows[split, 0], SideTable.open(folders[split])) for split in SCORED_SPLITS)
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

    def _rows(self, split: ScoredSplit, number: int) -> TokenisedSet:
        return self._tokenised(split, self.configs[number].model)

    def _folds(self, config: WeightedTeacher) -> list[Fold]:
        assert self.config.logits.folds is not None
        return assign_folds(self._tokenised("train", config.model), self.config.logits.folds, cache_folder(self.config))

    def _task(self, number: int, config: WeightedTeacher, without: Fold | None = None) -> TrainTask:
        return teacher_task(
            self.config,
            number=number,
            train=self._rows("train", number),
            validation=self._rows("validation", number),
            digest=model_digest(config.model),
            without=without,
        )
