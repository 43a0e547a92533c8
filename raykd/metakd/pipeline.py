"""Meta-KD from rows of several domains to the table: split, weights, teachers, both stages for each domain, evaluation."""

from collections.abc import Callable, Mapping, Sequence

from raykd.cluster import require_room
from raykd.config import MetaKDConfig
from raykd.config.stage_names import META_STAGES, MetaStageName
from raykd.data import storage
from raykd.data.side_tables import SideTable
from raykd.errors import ConfigError
from raykd.metakd.build_meta_objective import build_meta_objective
from raykd.metakd.checks import check_metrics
from raykd.metakd.domain_rows import DomainRows
from raykd.metakd.domain_tables import SideTables
from raykd.metakd.report import Line, MetaReport, Right, contrast, line, read, render, right_of, write
from raykd.metakd.tasks import (
    TEACHER_OF,
    Method,
    Rows,
    Student,
    TeacherKind,
    first_task,
    label_task,
    methods,
    run_folder,
    second_task,
    students,
    teacher_folder,
    teacher_task,
    teachers,
)
from raykd.models import check_sequence_length, load_config, model_digest
from raykd.predict import ScoreJob, score
from raykd.predict.scorer import Scorer
from raykd.report.environment import environment
from raykd.report.load_tables import load_labels, load_logits
from raykd.run.connect import connect
from raykd.run.progress import Terminal, stdout_console
from raykd.run.stage import Stage
from raykd.run.task import TrainTask, key_of, side_digest
from raykd.run.worker_group import TrainingGroup
from raykd.run.worker_groups import TrainingGroups, groups_that_fit
from raykd.session import stop_ray
from raykd.tracking import check_tracking
from raykd.trainers.features.compatibility import check_teacher_and_student

TITLES: dict[str, str] = {
    "single": "one domain's teacher",
    "mixed": "mixed-domain teacher",
    "meta": "meta-teacher",
    "hard_labels": "hard labels",
    "single_teacher": "TinyBERT-KD",
    "mixed_teacher": "TinyBERT-KD",
    "meta_teacher": "TinyBERT-KD",
    "meta_kd": "meta-distillation",
}


def run_meta_kd(
    config: MetaKDConfig, *, only: Sequence[MetaStageName] = (), terminal: Terminal | None = None
) -> MetaReport | None:
    """Run all stages, or some: finished ones are skipped, an interrupted one continues. The report, if it was asked for.

    Raises RaykdError for what a user can cause; ConfigError when a stage in ``only`` needs one that is not finished.
    """
    pipeline = MetaKDPipeline(config, terminal or Terminal(), only=only)
    pipeline.check()
    try:
        with pipeline.terminal.bars():
            report = pipeline.run()
    finally:
        pipeline.close()
    if report is None:
        return None
    pipeline.terminal.say(f"report: {storage.join(pipeline.folder, 'report', 'report.md')}")
    stdout_console().print(render(report))
    return report


class MetaKDPipeline:
    """The stages of one run; each method returns its stage's result, making it if it is not there."""

    def __init__(self, config: MetaKDConfig, terminal: Terminal, *, only: Sequence[MetaStageName] = ()) -> None:
        self.config = config
        self.terminal = terminal
        self.only = tuple(only) or META_STAGES
        self.folder = run_folder(config)
        self.rows = DomainRows(config, terminal.say, self._need)
        self.groups = TrainingGroups(self._new_group, terminal.record)
        self._started = False
        self.tables = SideTables(config, self.rows, self._score, self._need)

    def check(self) -> None:
        """Find what is wrong with the models before anything starts. Raises ModelError, ConfigError."""
        teacher, student = self.config.teacher.model, self.config.student.model
        for model in (teacher, student):
            check_sequence_length(load_config(model), self.config.sequence_length)
        check_metrics(self.config)
        check_tracking(self.config.tracking.kind)
        names = ("teacher.model", "student.model")
        losses = self.config.student.intermediate
        if self.config.compat:  # it reads eager attention, which every model has
            losses = losses.model_copy(update={"attention_weight": 0.0})
        check_teacher_and_student(teacher, student, losses=losses, cache=self.rows.cache, names=names)
        storage.write_json(storage.join(self.folder, "experiment.json"), self.config.model_dump(mode="json"))

    def close(self) -> None:
        """Let workers go, and Ray, if it was started here."""
        self.groups.close()
        if self._started:
            stop_ray()

    def run(self) -> MetaReport | None:
        """All stages asked for: the last one asks for those before it. The report, if it is among them."""
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

    def _need(self, stage: MetaStageName) -> None:
        if stage not in self.only:
            raise ConfigError(f"stage {' '.join(self.only)} needs the stage {stage}, which is not finished; run that first")

    def teachers(self) -> dict[tuple[TeacherKind, tuple[str, ...]], TrainTask]:
        """All teachers; students on labels alone are trained in the same queue, as they wait for nobody."""
        digest = model_digest(self.config.teacher.model)
        tasks = {
            (kind, domains): teacher_task(self.config, kind, domains, self._teacher_rows(kind, domains), digest)
            for kind, domains in teachers(self.config)
        }
        alone = self._label_tasks().values() if "students" in self.only else ()
        self._train("teachers", [*tasks.values()], beside=[*alone])
        return tasks

    def logits(self) -> dict[tuple[TeacherKind, str], SideTable]:
        """Every teacher's logits on its training rows."""
        return self.tables.logits(self.teachers())

    def _label_tasks(self) -> dict[Student, TrainTask]:
        """The students on labels alone."""
        digest = model_digest(self.config.student.model)
        alone = students(self.config, distilled=False)
        return {one: label_task(self.config, one, self._student_rows(one), digest) for one in alone}

    def students(self) -> dict[Student, TrainTask]:
        """All students, trained: stage first of all of them, then stage second of all of them."""
        wanted = students(self.config, distilled=True)
        logits = self.logits()
        first = self._first(wanted)
        if self.config.student.mode == "single":
            return first
        second = {}
        for student, task in first.items():
            rows = self._student_rows(student, logits[TEACHER_OF[student.method], student.domain])
            digest = model_digest(task.model_folder)
            second[student] = second_task(self.config, student, rows, first=task, digest=digest)
        self._train("students", list(second.values()))
        return second

    def evaluation(self) -> dict[tuple[str, str], list[SideTable]]:
        """Logits on each domain's test rows, by system and domain, one table a seed."""
        jobs: list[ScoreJob] = []
        tables: list[tuple[str, str, str]] = []
        for system, domain, model, tokenizer in self._systems(self.students()):
            output = storage.join(self.folder, "evaluation", str(len(jobs)))
            jobs.append(ScoreJob(model, self.rows.prepared("test", (domain,), tokenizer).path, output))
            tables.append((system, domain, output))
        stage = self._stage("evaluation", tables, [(job.prepared, model_digest(job.model)) for job in jobs])
        if not stage.is_done():
            self._need("evaluation")
            stage.begin()
            self._score(jobs, "test rows")
            stage.finish()
        found: dict[tuple[str, str], list[SideTable]] = {}
        for system, domain, output in tables:
            found.setdefault((system, domain), []).append(SideTable.open(output))
        return found

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
        """The table and its verdicts; report.json and report.md."""
        tables = self.evaluation()
        folder = storage.join(self.folder, "report")
        stage = self._stage("report", [(key, [side_digest(one) for one in sides]) for key, sides in tables.items()])
        if stage.is_done():
            self.terminal.say("report: finished before, skipped")
            return read(folder)
        self._need("report")
        stage.begin()
        report = self._measure(tables)
        write(report, folder)
        stage.finish()
        return report

    def _measure(self, tables: Mapping[tuple[str, str], Sequence[SideTable]]) -> MetaReport:
        domains = self.config.chosen_domains
        sets = {domain: self.rows.prepared("test", (domain,), self.config.student.model) for domain in domains}
        labels = {domain: load_labels(rows.path) for domain, rows in sets.items()}
        systems: dict[str, Right] = {
            system: {
                domain: right_of([load_logits(one.path) for one in tables[system, domain]], labels[domain])
                for domain in domains
            }
            for system in dict.fromkeys(name for name, _ in tables)
            if all((system, domain) in tables for domain in domains)
        }
        ours = (_name("meta_kd"), systems["meta_kd"])
        others = [method for method in methods(self.config) if method != "meta_kd"]
        return MetaReport(
            name=self.config.name,
            rows={domain: len(one) for domain, one in labels.items()},
            seeds=self.config.student.seeds,
            lines=tuple(self._lines(systems)),
            contrasts=tuple(contrast(ours, (_name(method), systems[method])) for method in others),
            environment=environment(),
        )

    def _lines(self, systems: dict[str, Right]) -> list[Line]:
        kinds: tuple[TeacherKind, ...] = ("single", "mixed", "meta")
        lines = [
            line("teacher", TITLES[kind], "–", systems[f"{kind} teacher"]) for kind in kinds if f"{kind} teacher" in systems
        ]
        for method in methods(self.config):
            teacher = TITLES[TEACHER_OF[method]] if method in TEACHER_OF else "–"
            lines.append(line("student", teacher, TITLES[method], systems[method]))
        return lines

    def _first(self, wanted: Sequence[Student]) -> dict[Student, TrainTask]:
        """Stage first, or the single objective, of all students."""
        own = model_digest(self.config.student.model)
        single = self.config.student.mode == "single"
        tasks = {}
        for student in wanted:
            kind = TEACHER_OF[student.method]
            folder = teacher_folder(self.config, kind, (student.domain,))
            rows = self._student_rows(student, select=single)
            digest = model_digest(storage.join(folder, "model"))
            tasks[student] = first_task(self.config, student, rows, own, teacher=folder, teacher_digest=digest)
        self._train("students", list(tasks.values()))
        return tasks

    def _teacher_rows(self, kind: TeacherKind, domains: tuple[str, ...]) -> Rows:
        model = self.config.teacher.model
        sides = (self.tables.weights(domains),) if kind == "meta" else ()
        return Rows(self.rows.prepared("train", domains, model), self.rows.prepared("dev", domains, model), None, sides)

    def _student_rows(self, student: Student, logits: SideTable | None = None, *, select: bool | None = None) -> Rows:
        """``select`` says whether dev rows choose the weights; stage first has no logits to choose by."""
        domains = (student.domain,)
        train = self.tables.train_rows(domains)
        chooses = (logits is not None or student.method == "hard_labels") if select is None else select
        dev = self.rows.prepared("dev", domains, self.config.student.model) if chooses else None
        sides = (self.tables.weights(domains),) if student.method == "meta_kd" else ()
        return Rows(train, dev, logits, sides)

    def _stage(self, name: str, *inputs: object) -> Stage:
        return Stage(name, storage.join(self.folder, name), key_of(name, *inputs))

    def _train(self, stage: MetaStageName, tasks: Sequence[TrainTask], *, beside: Sequence[TrainTask] = ()) -> None:
        """Train what is not finished, with tasks of other stages that go into the same queue."""
        everything = [*tasks, *beside]
        todo = [task for task in everything if not task.is_done()]
        if len(todo) < len(everything):
            self.terminal.say(f"{len(everything) - len(todo)} of {len(everything)} trainings finished before, skipped")
        if any(task in tasks for task in todo):
            self._need(stage)
        if todo:
            self._run_tasks(todo)

    def _run_tasks(self, tasks: Sequence[TrainTask]) -> None:
        self._start_ray()
        self.groups.run(tasks, at_most=self._room())

    def _new_group(self) -> TrainingGroup:
        return TrainingGroup(
            self.config.compute,
            storage=storage.join(self.folder, "ray"),
            name=self.config.name,
            build_objective=build_meta_objective,
        )

    def _room(self) -> int:
        """How many groups of workers train side by side."""
        if self.config.groups is not None:
            return self.config.groups
        return groups_that_fit(self.config.compute)

    def _score(self, jobs: Sequence[ScoreJob], what: str, scorer: type[Scorer] = Scorer) -> list[SideTable]:
        self._start_ray()
        compute = self.config.compute
        self.groups.make_room(cpus=compute.cpus_per_worker, gpu=False)
        require_room([{"CPU": float(compute.cpus_per_worker)}], "a prediction actor", limit_s=compute.start_timeout_s)
        return score(
            jobs,
            actors=compute.prediction_actors,
            cpus_per_actor=compute.cpus_per_worker,
            progress=lambda done, total: self.terminal.advance(what, done, total),
            scorer=scorer,
        )

    def _start_ray(self) -> None:
        self._started |= connect(self.config.compute, self.folder, groups=self.config.groups or 1)


def _name(method: Method) -> str:
    """What a verdict calls a student."""
    teacher = f" from the {TITLES[TEACHER_OF[method]]}" if method in TEACHER_OF else ""
    return f"{TITLES[method]}{teacher}"
