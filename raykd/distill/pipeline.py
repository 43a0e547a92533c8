"""A distillation from text files to the comparison table, stage by stage, on the driver."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property, partial

from raykd.config import ExperimentConfig
from raykd.data import storage
from raykd.data.found_labels import list_labels
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.checks import check_experiment, probe_models
from raykd.distill.job_labels import class_lines, with_found_labels
from raykd.distill.model_scores import ModelScores
from raykd.distill.report import Candidate, build_comparison, describe_models, measure_latencies
from raykd.distill.split_rows import SplitRows
from raykd.distill.student_models import StudentModels
from raykd.distill.student_trainings import StudentTrainings, TrainedStudent
from raykd.distill.tasks import count_trainings, task_folders
from raykd.distill.teachers import Teachers
from raykd.distill.training_rows import LABELLED_ROWS, TrainingRows
from raykd.errors import ConfigError
from raykd.progress import Terminal
from raykd.report.comparison import FORMAT, Comparison
from raykd.report.files import read_report, write_report
from raykd.run.job_pipeline import run_pipeline
from raykd.run.stages import StageRunner
from raykd.run.task import cache_folder, run_folder, side_digest
from raykd.stage_names import SPLITS, STAGES, Split, StageName


def run_experiment(
    config: ExperimentConfig, *, only: Sequence[StageName] = (), terminal: Terminal | None = None
) -> Comparison | None:
    """Run all stages, or some: finished ones are skipped, an interrupted one continues. Returns the report, if asked for.

    Raises RaykdError for anything a user can cause; ConfigError when a stage in ``only`` needs one that is not finished.
    """
    pipeline = DistillationPipeline(config, only=only, terminal=terminal)
    comparison = run_pipeline(pipeline)
    if comparison is not None:
        pipeline.runner.terminal.print_line(f"report: {storage.join(pipeline.runner.folder, 'report', 'report.html')}")
    return comparison


class DistillationPipeline:
    """The stages of one experiment; each method returns its stage's result, making it if it is not there."""

    def __init__(
        self,
        config: ExperimentConfig,
        *,
        only: Sequence[StageName] = (),
        terminal: Terminal | None = None,
        runner_class: type[StageRunner] = StageRunner,
    ) -> None:
        self._given = config
        every = STAGES if config.data.label is not None else STAGES[: STAGES.index("report")]
        self.only = tuple(only) or every
        self.runner = runner_class(
            name=config.name,
            folder=run_folder(config),
            cache=cache_folder(config),
            compute=config.compute,
            stages=self.only,
            terminal=terminal or Terminal(),
            trainings=count_trainings(config),
        )

    @cached_property
    def config(self) -> ExperimentConfig:
        """The job, with the labels of its rows where it lists none. Raises DataError when they cannot be found."""
        config, counts = with_found_labels(self._given)
        if counts:
            self.runner.terminal.print_line(f"labels, with their rows in data.train: {list_labels(counts)}")
        return config

    def check(self, *, probe: bool = True) -> None:
        """Find errors in models and files before anything starts; runs no model without ``probe``. Raises RaykdError."""
        check_experiment(self.config)
        if probe and self.will_train():
            self.models_probe()()
        if self.config.data.label is None and "report" in self.only:
            raise ConfigError("stage report compares answers with labels, but data.label is not set; name the label column")
        for warning in self.config.warnings:
            self.runner.terminal.print_line(f"warning: {warning}")
        self.runner.write_config(self.config)

    def models_probe(self) -> Callable[[], None]:
        """A function that runs the models on a few rows and raises ModelError."""
        return partial(probe_models, self.config)

    def will_train(self) -> bool:
        """True when some task's folder is not finished; results of another configuration are detected later, by their key."""
        return self._next_stage is not None

    @property
    def _next_stage(self) -> StageName | None:
        """The first stage with a task whose folder is not finished."""
        trained = ((stage, folder) for stage, folder in task_folders(self.config) if stage in self.only)
        return next((stage for stage, folder in trained if not storage.exists(storage.join(folder, "task.json"))), None)

    def start_workers(self) -> None:
        """Start workers during the preparation."""
        if self._next_stage is not None:
            self.runner.start_workers(self._next_stage)

    def tokenise_all(self) -> None:
        """Tokenise the rows of all stages asked for: errors in test files are found before anything is trained."""
        models = [(one.model, self.teachers.prompts(number)) for number, one in enumerate(self.config.every_teacher)]
        models += [(model, None) for model in self.config.student_models]
        models += [(self.student_models.tokenizer(one), None) for one in self.config.student_variants]
        reports = not {"evaluation", "report"}.isdisjoint(self.only)
        splits: tuple[Split, ...] = SPLITS if reports and self.config.data.has_test_set else SPLITS[:2]
        for model, prompts in dict.fromkeys(models):
            for split in splits:
                self.splits.tokenised(split, model, prompts)
            for kind in self.training_rows.every_kind:
                self.training_rows.of_kind(kind, model, prompts)
        labelled = self.training_rows.of_kind(LABELLED_ROWS, self.config.student_models[0])
        for line in class_lines(labelled, self.config, found=self._given.data.labels is None):
            self.runner.terminal.print_line(line)
        for overlap in self.splits.overlaps if reports else ():
            self.runner.terminal.print_line(f"warning: {overlap}")

    def run(self) -> Comparison | None:
        """Make all stages asked for: the last one asks for those before it. Returns the comparison, if it is among them."""
        last = [stage for stage in STAGES if stage in self.only][-1]
        if self.config.logits.file is not None and last != "teacher":
            self.logits()  # a value that cannot be used stops the run before anything trains
        result = {
            "teacher": self.teachers.models,
            "logits": self.logits,
            "students": self.students,
            "evaluation": self.evaluation,
            "report": self.report,
        }[last]()
        return result if isinstance(result, Comparison) else None

    def tokenised(self, split: Split, model: str) -> TokenisedSet:
        """The rows of a split as a model's tokens. Raises DataError for too few held-out test rows."""
        return self.splits.tokenised(split, model)

    @cached_property
    def splits(self) -> SplitRows:
        """The rows of each split."""
        return SplitRows(self.config, self.runner)

    @cached_property
    def teachers(self) -> Teachers:
        """The teachers and their logits."""
        return Teachers(self.config, self.runner, self.splits, self.training_rows)

    @cached_property
    def training_rows(self) -> TrainingRows:
        """The training rows, labelled and unlabelled."""
        return TrainingRows(self.config, self.runner, self.splits)

    @cached_property
    def student_models(self) -> StudentModels:
        """The students' tokenizers and initial models."""
        return StudentModels(self.config, self.runner, self.training_rows, lambda: self.teachers.models()[0])

    @cached_property
    def model_scores(self) -> ModelScores:
        """The logits of the trained models."""
        return ModelScores(self.config, self.runner, self.splits, self.teachers)

    def logits(self) -> SideTable | None:
        """The teacher logits of the searched student, the last variant; those of all variants are made. None without any."""
        return self.teachers.logits()

    def students(self) -> list[TrainedStudent]:
        """All variants with all seeds, trained."""
        return self._student_trainings.run()

    @cached_property
    def _student_trainings(self) -> StudentTrainings:
        return StudentTrainings(
            self.config,
            self.runner,
            splits=self.splits,
            training_rows=self.training_rows,
            models=self.student_models,
            teachers=self.teachers,
        )

    def candidates(self) -> list[Candidate]:
        """The models that the report compares."""
        students = self.students()
        found = self.teachers.candidates()
        for one in students:
            variant, task = one.inputs.variant, one.task
            tokenizer, work = one.inputs.tokenizer, one.inputs.work
            candidate = Candidate("student", task.name, task.seed, task.model_folder, tokenizer, task.history)
            found.append(replace(candidate, variant=variant, work=work))
        return found

    def evaluation(self) -> list[tuple[Candidate, SideTable]]:
        """Logits of every model on the rows of the report; those on the validation rows are made in the same execution."""
        return self.model_scores.of(self.candidates())

    def report(self) -> Comparison:
        """The comparison; report.json, report.md and report.html."""
        scored = self.evaluation()
        folder = storage.join(self.runner.folder, "report")
        validation = self.model_scores.validation(scored)
        inputs = [(candidate.name, side_digest(side)) for candidate, side in scored]
        stage = self.runner.stage(
            "report",
            FORMAT,
            self.config.student.against,
            inputs,
            {name: side_digest(side) for name, side in validation.items()},
        )
        if self.runner.skip_or_begin(stage):
            return read_report(folder)
        rows = self.tokenised(self.model_scores.report_split, self.config.student_models[0])
        validation_rows = self.tokenised("validation", self.config.student_models[0])
        overlaps, left_out = self.splits.overlaps, self.training_rows.left_out
        self.runner.release_workers()  # latency is measured on idle processors
        latencies = measure_latencies([candidate for candidate, _ in scored], self.config.data)
        self.runner.end_ray()  # nothing below needs it
        comparison = build_comparison(
            scored,
            name=self.config.name,
            rows=rows,
            data=self.config.data,
            student=self.config.student,
            quality=self.teachers.quality,
            overlaps=overlaps,
            left_out=left_out,
            validation=validation,
            validation_rows=validation_rows,
            latencies=latencies,
        )
        write_report(comparison, folder)
        describe_models(comparison, [candidate for candidate, _ in scored], self.config, self.runner.folder)
        stage.finish()
        return comparison
