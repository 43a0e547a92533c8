"""Meta-KD from rows of several domains to the table: split, weights, teachers, students of each domain, evaluation."""

import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any

from numpy.typing import NDArray

from raykd.cluster import uses_gpu
from raykd.config import MetaKDConfig
from raykd.data import storage
from raykd.data.first_rows import first_texts
from raykd.data.overlap import Overlap, find_overlaps
from raykd.data.side_tables import SideTable
from raykd.data.tokenizer import Text
from raykd.metakd.build_meta_objective import build_meta_objective
from raykd.metakd.checks import check_meta_kd, probe_models
from raykd.metakd.domain_rows import DomainRows
from raykd.metakd.domain_tables import DomainSideTables
from raykd.metakd.model_temperatures import DomainScores, fit_temperatures, store_temperatures
from raykd.metakd.report import FORMAT, MetaReport, read, write
from raykd.metakd.student_start import student_start
from raykd.metakd.system_table import compare_systems
from raykd.metakd.tasks import (
    TEACHER_OF,
    Student,
    TeacherKind,
    count_trainings,
    intermediate_task,
    label_task,
    prediction_task,
    students,
    task_folders,
    teacher_folder,
    teacher_task,
    teachers,
)
from raykd.models import PROBE_ROWS, model_digest
from raykd.predict import ScoreJob
from raykd.progress import Terminal
from raykd.report.load_tables import load_labels
from raykd.run.job_pipeline import run_pipeline
from raykd.run.stages import StageRunner
from raykd.run.task import ModelFolder, TaskInputs, TrainTask, cache_folder, run_folder, side_digest
from raykd.stage_names import META_STAGES, SPLITS, MetaStageName, Split


def run_meta_kd(
    config: MetaKDConfig, *, only: Sequence[MetaStageName] = (), terminal: Terminal | None = None
) -> MetaReport | None:
    """Run all stages, or some: finished ones are skipped, an interrupted one continues. Returns the report, if asked for.

    Raises RaykdError for anything a user can cause; ConfigError when a stage in ``only`` needs one that is not finished.
    """
    pipeline = MetaKDPipeline(config, only=only, terminal=terminal)
    report = run_pipeline(pipeline)
    if report is not None:
        pipeline.runner.terminal.print_line(f"report: {storage.join(pipeline.runner.folder, 'report', 'report.md')}")
    return report


class MetaKDPipeline:
    """The stages of one run; each method returns its stage's result, making it if it is not there."""

    def __init__(
        self,
        config: MetaKDConfig,
        *,
        only: Sequence[MetaStageName] = (),
        terminal: Terminal | None = None,
        runner_class: type[StageRunner] = StageRunner,
    ) -> None:
        self.config = config
        self.only = tuple(only) or META_STAGES
        self.runner = runner_class(
            name=config.name,
            folder=run_folder(config),
            cache=cache_folder(config),
            compute=config.compute,
            stages=self.only,
            terminal=terminal or Terminal(),
            build_objective=build_meta_objective,
            trainings=count_trainings(config),
        )
        self.rows = DomainRows(config, self.runner)
        self.tables = DomainSideTables(config, self.rows, self.runner)

    def check(self, *, probe: bool = True) -> None:
        """Find errors in models and rows before anything starts; runs no model without ``probe``. Raises RaykdError.

        Splitting by domain reads every row.
        """
        check_meta_kd(self.config, self.runner.cache)
        self.runner.write_config(self.config)
        if "split" in self.only:
            self.rows.check_classes()
        if probe and self.will_train():
            self.models_probe()()

    def models_probe(self) -> Callable[[], None]:
        """A function that runs the models on a few rows and raises ModelError."""
        texts: Sequence[Text] = ()
        if "split" in self.only:
            texts = first_texts(self.rows.spec("train", self.config.domains, self.config.teacher.model), PROBE_ROWS)
        return partial(probe_models, self.config, texts)

    def will_train(self) -> bool:
        """True when some task's folder is not finished; results of another configuration are detected later, by their key."""
        return self._next_stage is not None

    @property
    def _next_stage(self) -> MetaStageName | None:
        """The first stage with a task whose folder is not finished."""
        trained = ((stage, folder) for stage, folder in task_folders(self.config) if stage in self.only)
        return next((stage for stage, folder in trained if not storage.exists(storage.join(folder, "task.json"))), None)

    def start_workers(self) -> None:
        """Start workers during the preparation, unless embedding the rows needs the workers' GPUs first."""
        embeds = not storage.exists(storage.join(self.runner.folder, "weights", "stage.json"))
        if self._next_stage is not None and not (embeds and uses_gpu(self.config.compute)):
            self.runner.start_workers(self._next_stage)

    def tokenise_all(self) -> None:
        """Tokenise the rows of all stages asked for: errors in test files are found before anything is trained."""
        domains, teacher, student = self.config.domains, self.config.teacher.model, self.config.student.model
        for model in dict.fromkeys((self.config.weights.encoder or teacher, teacher, student)):
            self.rows.tokenised("train", domains, model)
        self.rows.tokenised("validation", domains, teacher)
        tests = not {"evaluation", "report"}.isdisjoint(self.only)
        for split, domain in itertools.product(SPLITS if tests else SPLITS[:2], self.config.chosen_domains):
            self.rows.tokenised(split, (domain,), student)
        for overlap in self._overlaps if tests else ():
            self.runner.terminal.print_line(f"warning: {overlap}")

    @cached_property
    def _overlaps(self) -> list[Overlap]:
        """Texts that the splits share, over all domains: mixed and meta-teachers are trained on those of every domain."""
        student = self.config.student.model
        domains = {"train": self.config.domains, "validation": self.config.chosen_domains, "test": self.config.chosen_domains}
        return find_overlaps(
            {split: [self.rows.tokenised(split, (domain,), student) for domain in domains[split]] for split in SPLITS}
        )

    def run(self) -> MetaReport | None:
        """Make all stages asked for: the last one asks for those before it. Returns the report, if it is among them."""
        last = [stage for stage in META_STAGES if stage in self.only][-1]
        stages: dict[MetaStageName, Callable[[], object]] = {
            "split": self.rows.split,
            "weights": lambda: self.tables.weights(self.config.domains),
            "teachers": self.teachers,
            "logits": self.logits,
            "students": self.students,
            "evaluation": self.evaluation,
            "report": self.report,
        }
        result = stages[last]()
        return result if isinstance(result, MetaReport) else None

    def teachers(self) -> dict[tuple[TeacherKind, tuple[str, ...]], TrainTask]:
        """All teachers, trained."""
        digest = model_digest(self.config.teacher.model)
        tasks = {
            (kind, domains): teacher_task(self.config, kind, domains, self._teacher_inputs(kind, domains), digest)
            for kind, domains in teachers(self.config)
        }
        self.runner.train("teachers", [*tasks.values()])
        return tasks

    def logits(self) -> dict[tuple[TeacherKind, str], SideTable]:
        """Every teacher's logits on its training rows."""
        return self.tables.logits(self.teachers())

    def _label_tasks(self) -> dict[Student, TrainTask]:
        """The students on labels alone."""
        alone = students(self.config, distilled=False)
        return {one: label_task(self.config, one, self._student_inputs(one), self.start) for one in alone}

    @cached_property
    def start(self) -> ModelFolder:
        """The initial model of every student."""
        return student_start(self.config, self.runner)

    def students(self) -> dict[Student, TrainTask]:
        """The distilled students, trained: the intermediate layers of all of them, then the prediction layers of all of them.

        Students on labels alone need no teacher: they train beside the teachers where resources are free, else with the last;
        those that start from the meta-teacher train after it.
        """
        if self.config.student.from_teacher:
            self.teachers()
        alone = list(self._label_tasks().values())
        self.runner.train_beside("students", alone)
        wanted = students(self.config, distilled=True)
        logits = self.logits()
        intermediate = self._intermediate(wanted)
        if self.config.student.mode == "single":
            self.runner.train("students", alone)
            return intermediate
        prediction = {}
        for student, task in intermediate.items():
            inputs = self._student_inputs(student, logits[TEACHER_OF[student.method], student.domain])
            digest = model_digest(task.model_folder)
            prediction[student] = prediction_task(self.config, student, inputs, after=task, digest=digest)
        self.runner.train("students", [*alone, *prediction.values()])
        return prediction

    def evaluation(self) -> list[DomainScores]:
        """Logits of every model on the test and validation rows of its domains, seeds in order."""
        scores: list[tuple[str, str, str, str, str]] = []
        jobs: list[ScoreJob] = []
        for number, (system, domain, model, tokenizer) in enumerate(self._systems(self.students())):
            folder = storage.join(self.runner.folder, "evaluation")
            outputs: dict[Split, str] = {
                "test": storage.join(folder, str(number)),
                "validation": storage.join(folder, "validation", str(number)),
            }
            for split, output in outputs.items():
                jobs.append(ScoreJob(model, self.rows.tokenised(split, (domain,), tokenizer).path, output))
            scores.append((system, domain, model, outputs["test"], outputs["validation"]))
        stage = self.runner.stage("evaluation", scores, [(job.prepared, model_digest(job.model)) for job in jobs])
        self.runner.score_stages({stage: jobs}, "test and validation rows", for_report=True)
        return [
            DomainScores(system, domain, model, SideTable.open(test), SideTable.open(validation))
            for system, domain, model, test, validation in scores
        ]

    def _systems(self, distilled: Mapping[Student, TrainTask]) -> list[tuple[str, str, str, str]]:
        """System, domain, model folder and tokenizer of every model of the table."""
        trained = self._label_tasks() | dict(distilled)
        found: list[tuple[str, str, str, str]] = [
            (one.method, one.domain, task.model_folder, self.config.student.model) for one, task in trained.items()
        ]
        for kind, domains in teachers(self.config):
            folder = storage.join(teacher_folder(self.config, kind, domains), "model")
            chosen = [domain for domain in domains if domain in self.config.chosen_domains]
            found += [(f"{kind} teacher", domain, folder, self.config.teacher.model) for domain in chosen]
        return found

    def report(self) -> MetaReport:
        """The table and its verdicts; report.json, report.md, and the temperature in every model folder."""
        scores = self.evaluation()
        folder = storage.join(self.runner.folder, "report")
        inputs = [(one.system, one.domain, side_digest(one.test), side_digest(one.validation)) for one in scores]
        stage = self.runner.stage("report", FORMAT, inputs)
        if self.runner.skip_or_begin(stage):
            return read(folder)
        labels, validation = (self._labels(split) for split in ("test", "validation"))
        overlaps = self._overlaps
        self.runner.end_ray()  # nothing below needs it
        loaded = [one.load() for one in scores]
        temperatures = fit_temperatures(loaded, validation)
        store_temperatures(temperatures, sequence_length=self.config.sequence_length)
        report = compare_systems(self.config, loaded, labels, temperatures, overlaps)
        write(report, folder)
        stage.finish()
        return report

    def _labels(self, split: Split) -> dict[str, NDArray[Any]]:
        """Label ids of a split by domain."""
        student = self.config.student.model
        return {
            domain: load_labels(self.rows.tokenised(split, (domain,), student).path) for domain in self.config.chosen_domains
        }

    def _intermediate(self, wanted: Sequence[Student]) -> dict[Student, TrainTask]:
        """Intermediate-layer distillation, or the single objective, of all students."""
        single = self.config.student.mode == "single"
        tasks = {}
        for student in wanted:
            kind = TEACHER_OF[student.method]
            folder = teacher_folder(self.config, kind, (student.domain,))
            inputs = self._student_inputs(student, validates=single)
            digest = model_digest(storage.join(folder, "model"))
            tasks[student] = intermediate_task(self.config, student, inputs, self.start, teacher=folder, teacher_digest=digest)
        self.runner.train("students", list(tasks.values()))
        return tasks

    def _teacher_inputs(self, kind: TeacherKind, domains: tuple[str, ...]) -> TaskInputs:
        train, validation = (self.rows.tokenised(split, domains, self.config.teacher.model) for split in SPLITS[:2])
        return TaskInputs(train, validation, side_tables=(self.tables.weights(domains),) if kind == "meta" else ())

    def _student_inputs(
        self, student: Student, logits: SideTable | None = None, *, validates: bool | None = None
    ) -> TaskInputs:
        """Inputs of a student's task. ``validates`` selects weights on the validation set; by default, where there are logits.

        Intermediate-layer distillation trains no classifier that could be validated.
        """
        domains = (student.domain,)
        if validates is None:
            validates = logits is not None or student.method == "hard_labels"
        validation = self.rows.tokenised("validation", domains, self.config.student.model) if validates else None
        weights = (self.tables.weights(domains),) if student.method == "meta_kd" else ()
        return TaskInputs(self.tables.train_rows(domains), validation, logits, weights)
