"""A distillation from TSV files to the comparison table, stage by stage, on the driver."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from raykd.cluster import require_room
from raykd.config import ExperimentConfig
from raykd.config.stage_names import STAGES, StageName
from raykd.data import storage
from raykd.data.prepare import prepare, spec_from_config
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.checks import check_experiment
from raykd.distill.report import Candidate, build_comparison
from raykd.distill.tasks import (
    ModelFolder,
    cache_folder,
    intermediate_tasks,
    model_folder,
    run_folder,
    student_tasks,
    task_folders,
)
from raykd.distill.teachers import TOGETHER, Teaching
from raykd.errors import ConfigError
from raykd.models import model_digest
from raykd.predict import ScoreJob, score
from raykd.report.card import model_card
from raykd.report.comparison import Comparison
from raykd.report.files import read_report, write_report
from raykd.report.system import Role
from raykd.report.terminal import print_comparison
from raykd.run.connect import connect
from raykd.run.progress import Terminal, stdout_console
from raykd.run.stage import Stage
from raykd.run.task import TrainTask, key_of, side_digest
from raykd.run.worker_group import TrainingGroup, uses_gpu
from raykd.session import stop_ray
from raykd.task_kinds import label_codec


def run_experiment(config: ExperimentConfig, *, only: Sequence[StageName] = (), terminal: Terminal | None = None) -> None:
    """Run all stages, or some: finished ones are skipped, an interrupted one continues.

    Raises RaykdError for anything a user can cause; ConfigError when a stage in ``only`` needs one that is not finished.
    """
    pipeline = Pipeline(config, only=only, terminal=terminal or Terminal())
    try:
        with pipeline.terminal.bars():
            pipeline.terminal.wait_for("looking at files and models")
            pipeline.check()
            pipeline.terminal.arrived()
            if pipeline.will_train():
                pipeline.terminal.wait_for("starting Ray and the workers")
                pipeline.start_ray()
                pipeline.start_workers()
            comparison = pipeline.run()
    finally:
        pipeline.close()
    if comparison is not None:
        pipeline.terminal.say(f"report: {storage.join(pipeline.folder, 'report', 'report.html')}")
        print_comparison(comparison, stdout_console())


Part = Literal["train", "validation", "test"]


class Pipeline:
    """The stages of one experiment; each method returns its stage's result, making it if it is not there."""

    def __init__(self, config: ExperimentConfig, *, only: Sequence[StageName], terminal: Terminal) -> None:
        self.config = config
        every = STAGES if config.data.label is not None else STAGES[: STAGES.index("report")]
        self.only = tuple(only) or every
        self.terminal = terminal
        self.folder = run_folder(config)
        self.group = TrainingGroup(config.compute, storage=storage.join(self.folder, "ray"), name=config.name)
        self._prepared: dict[tuple[Part, str], TokenisedSet] = {}
        self._started = False
        self._asked: set[str] = set()

    def start_ray(self) -> None:
        """Bring Ray up, if it is not: a run whose stages are all finished does without."""
        self._started |= connect(self.config.compute, self.folder)

    def start_workers(self) -> None:
        """Bring the workers up beside the preparation, for their imports take long.

        Where their number may grow they would take the CPUs that preparation needs: there all rows are prepared first.
        """
        if not self.config.compute.elastic:
            self.group.start()
            return
        models = [model.model for model in (*self.config.every_teacher, self.config.student)]
        parts: tuple[Part, ...] = ("train", "validation", *(("test",) if self.config.data.test else ()))
        for model in dict.fromkeys(models):
            for part in parts:
                self.prepared(part, model)

    def close(self) -> None:
        """Let workers go, and Ray, if it was started here."""
        self.group.close()
        if self._started:
            stop_ray()

    def check(self) -> None:
        """Find what is wrong with models and files before anything starts. Raises RaykdError."""
        check_experiment(self.config)
        if self.config.data.label is None and "report" in self.only:
            raise ConfigError("stage report compares answers with labels, but data.label is not set; name the label column")
        for warning in self.config.warnings:
            self.terminal.say(f"warning: {warning}")
        storage.write_json(storage.join(self.folder, "experiment.json"), self.config.model_dump(mode="json"))

    def will_train(self) -> bool:
        """Whether some task's folder is not finished; one finished by another configuration is found out later."""
        trained = [folder for stage, folder in task_folders(self.config) if stage in self.only]
        return any(not storage.exists(storage.join(folder, "task.json")) for folder in trained)

    def run(self) -> Comparison | None:
        """All stages asked for: the last one asks for those before it. The comparison, if that is among them."""
        last = [stage for stage in STAGES if stage in self.only][-1]
        result = {
            "teacher": self.teaching.models,
            "logits": self.logits,
            "students": self.students,
            "evaluation": self.evaluation,
            "report": self.report,
        }[last]()
        return result if isinstance(result, Comparison) else None

    def prepared(self, part: Part, model: str) -> TokenisedSet:
        """The rows of a part as a model's tokens."""
        if (part, model) not in self._prepared:
            spec = spec_from_config(self.config.data, part, model, label_codec(self.config.data))
            name = f"preparing {part} rows"
            made = prepare(
                spec, cache_folder(self.config), progress=lambda done, total: self.terminal.advance(name, done, total)
            )
            if made.path not in {other.path for other in self._prepared.values()}:  # one tokenizer may serve both models
                rejected = f", {made.rejected} rejected" if made.rejected else ""
                self.terminal.say(f"{part}: {made.num_rows} rows, at most {made.max_length} tokens{rejected}")
            self._prepared[part, model] = made
        return self._prepared[part, model]

    @cached_property
    def teaching(self) -> Teaching:
        """The teachers, and what they hand on."""
        return Teaching(self)

    def logits(self) -> SideTable | None:
        """What students distil from, on the training rows; none when nothing distils."""
        return self.teaching.logits()

    def students(self) -> list[TrainTask]:
        """All students, trained."""
        logits = self.logits()
        model, teacher = self.config.student.model, self._feature_teacher()
        train, digest = self.prepared("train", model), model_digest(model)
        first = intermediate_tasks(self.config, train=train, digest=digest, teacher=teacher) if teacher else {}
        self.train("students", list(first.values()))
        tasks = student_tasks(
            self.config,
            train=train,
            validation=self.prepared("validation", model),
            logits=logits,
            digest=digest,
            teacher=teacher,
            initial={seed: model_folder(task.model_folder) for seed, task in first.items()},
        )
        self.train("students", tasks)
        return tasks

    def _feature_teacher(self) -> ModelFolder | None:
        """The trained teacher whose layers students learn from; None without intermediate-layer distillation."""
        return None if self.config.student.intermediate is None else model_folder(self.teaching.models()[0])

    def candidates(self) -> list[Candidate]:
        """What the report compares."""
        students = self.students()
        found = self.teaching.candidates()
        for task in students:
            role: Role = "student_kd" if task.objective.distils else "student_no_kd"
            found.append(Candidate(role, task.name, task.seed, task.model_folder, self.config.student.model, task.history))
        return found

    def evaluation(self) -> list[tuple[Candidate, SideTable]]:
        """Logits of every model on the rows of the report."""
        found = []
        for candidate in self.candidates():
            rows = self.prepared(self._reported, candidate.tokenizer)
            name = candidate.name.replace(" ", "-")
            found.append((candidate, rows, self.stage(f"evaluation/{name}", rows.fingerprint, model_digest(candidate.model))))
        todo = [(candidate, rows, stage) for candidate, rows, stage in found if not stage.is_done()]
        if todo:
            self._need("evaluation")
            for _, _, stage in todo:
                stage.begin()
            jobs = [ScoreJob(candidate.model, rows.path, stage.folder) for candidate, rows, stage in todo]
            self.score(jobs, f"{self._reported} rows")
            for _, _, stage in todo:
                stage.finish()
        scored = [(candidate, SideTable.open(stage.folder)) for candidate, _, stage in found]
        return [*self._averaged(scored), *scored]

    def _averaged(self, scored: Sequence[tuple[Candidate, SideTable]]) -> list[tuple[Candidate, SideTable]]:
        """What several teachers say together: students learn from that, so it is what they are measured by."""
        teachers = [(candidate, side) for candidate, side in scored if candidate.role == "teacher"]
        if len(teachers) < 2:
            return []
        sides = [side for _, side in teachers]
        name = f"evaluation/{TOGETHER.replace(' ', '-')}"
        stage = self.stage(name, [side_digest(side) for side in sides], self.teaching.weights)
        if not stage.is_done():
            stage.begin()
            self.teaching.together(sides, self.prepared(self._reported, teachers[0][0].tokenizer), stage.folder)
            stage.finish()
        parts = tuple(candidate.model for candidate, _ in teachers)
        candidate = Candidate("teacher", TOGETHER, None, "", teachers[0][0].tokenizer, None, parts=parts)
        return [(candidate, SideTable.open(stage.folder))]

    def report(self) -> Comparison:
        """The comparison; report.json, report.md and report.html."""
        scored = self.evaluation()
        folder = storage.join(self.folder, "report")
        stage = self.stage("report", [(candidate.name, side_digest(side)) for candidate, side in scored])
        if self.skips(stage):
            return read_report(folder)
        self.group.close()  # latency is measured on idle processors
        rows = self.prepared(self._reported, self.config.student.model)
        judged = storage.join(self.folder, "logits", "stage.json")
        quality = storage.read_json(judged).get("quality") if storage.exists(judged) else None
        comparison = build_comparison(scored, name=self.config.name, rows=rows, data=self.config.data, quality=quality)
        write_report(comparison, folder)
        self._write_cards(comparison, [candidate for candidate, _ in scored])
        stage.finish()
        return comparison

    def _write_cards(self, comparison: Comparison, candidates: Sequence[Candidate]) -> None:
        """A model card with the table, in the folder of every student."""
        student = self.config.student
        for candidate in candidates:
            if candidate.role != "teacher":
                distils = candidate.role != "student_no_kd"
                objective = student.objective.summary if distils else "cross entropy with the labels"
                card = model_card(comparison, role=candidate.role, seed=candidate.seed, objective=objective, base=student.model)
                storage.write_bytes(storage.join(candidate.model, "README.md"), card.encode())

    @property
    def _reported(self) -> Literal["test", "validation"]:
        """Rows of the report: the test rows, where there are any."""
        return "test" if self.config.data.test else "validation"

    def stage(self, name: str, *inputs: object) -> Stage:
        """A stage of this run, named by what it is made from."""
        return Stage(name, storage.join(self.folder, name), key_of(name, *inputs))

    def skips(self, stage: Stage) -> bool:
        """Whether the stage is finished; else it is begun. Raises ConfigError when it is not among those asked for."""
        if stage.is_done():
            self.terminal.say(f"{stage.name}: finished before, skipped")
            return True
        self._need(stage.name)
        stage.begin()
        return False

    def _need(self, name: str) -> None:
        if name not in self.only:
            raise ConfigError(f"stage {' '.join(self.only)} needs the stage {name}, which is not finished; run that first")

    def train(self, stage: StageName, tasks: Sequence[TrainTask]) -> None:
        """Train what is not finished, in one queue."""
        new = [task for task in tasks if task.name not in self._asked]
        self._asked.update(task.name for task in new)
        todo = [task for task in new if not task.is_done()]
        for task in new:
            if task not in todo:
                self.terminal.say(f"{task.name}: finished before, skipped")
        if todo:
            self._need(stage)
            self.start_ray()
            self.group.run(todo, self.terminal.record)

    def score(self, jobs: Sequence[ScoreJob], what: str) -> list[SideTable]:
        """Score rows with models."""
        compute = self.config.compute
        self.start_ray()
        use_gpu = uses_gpu(compute)
        self.group.make_room(cpus=compute.cpus_per_worker, gpu=use_gpu)
        actor = {"CPU": float(compute.cpus_per_worker)} | ({"GPU": 1.0} if use_gpu else {})
        require_room([actor], "a prediction actor", limit_s=compute.start_timeout_s)
        return score(
            jobs,
            actors=compute.prediction_actors,
            cpus_per_actor=compute.cpus_per_worker,
            precision=compute.precision,
            use_gpu=use_gpu,
            progress=lambda done, total: self.terminal.advance(what, done, total),
        )
