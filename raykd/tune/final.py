"""What a search ends with: the best values trained on the full budget over several seeds, and tested once.

Where population-based training moved the best trial's values, they move in the same way here, by the fraction of the steps.
Beside them stand the base's own values and the same student without distillation. Test rows are read here, and here only.
"""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raykd.config import FineTuneConfig, TuneConfig, with_values
from raykd.config.experiment import StudentConfig
from raykd.config.metakd import MetaDistillationObjective
from raykd.config.tune import BaseConfig
from raykd.data import storage
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd.report import Right, right_of
from raykd.models import model_digest
from raykd.predict import ScoreJob, score
from raykd.report.load_tables import load_labels, load_logits
from raykd.run.progress import Terminal
from raykd.run.stage import Stage
from raykd.run.task import Phase, TrainTask, key_of
from raykd.run.worker_group import uses_gpu
from raykd.run.worker_groups import Group, TrainingGroups
from raykd.trainers.events import Ended, Evaluated, TrainingEvent
from raykd.trainers.model_selection import SMALLER_IS_BETTER
from raykd.tune.listen import best_metric
from raykd.tune.trial_plan import Adapt, Chain, Plan, Variant
from raykd.tune.trial_record import Schedule
from raykd.tune.trial_teacher import TrialTeacher
from raykd.tune.trial_teacher_turns import teach_in_group

TUNED, DEFAULT, NO_KD, NO_KD_TUNED = "tuned", "default", "no_kd", "no_kd_tuned"
TEACHER, TUNED_TEACHER = "teacher", "tuned_teacher"
STAGE_FIRST = "stage first"


@dataclass
class Training:
    """One student on its way to the end: a system, a seed, a domain."""

    system: str
    seed: int
    domain: str
    chain: Chain
    task: TrainTask | None = None
    """The training it is at; the last one, when all are done."""


@dataclass
class Final:
    """The trainings at the end of a search, and their test."""

    config: TuneConfig
    plan: Plan
    schedule: Schedule
    """The best trial's values, over time where they moved."""
    folder: str
    build: Callable[[], Group]
    """Makes a group of workers."""
    terminal: Terminal
    side_by_side: int = 1
    """Groups that train at a time."""
    trained: list[Training] = field(default_factory=list)

    def train(self) -> list[Training]:
        """Every student, through groups of workers: all first trainings, then all that follow them."""
        groups = TrainingGroups(self.build, self._hear)
        try:
            self._teach()
            self.trained = list(self._trainings())
            while tasks := self._next_tasks():
                todo = [task for task in tasks if not task.is_done()]
                if len(todo) < len(tasks):
                    self.terminal.say(f"{len(tasks) - len(todo)} of {len(tasks)} last trainings finished before, skipped")
                if todo:
                    groups.run(todo, at_most=self.side_by_side, together=_together)
        finally:
            groups.close()
        return self.trained

    def _teach(self) -> None:
        """Make the tuned student's own teacher, which the trial has made unless somebody removed it."""
        if self.lesson is None or self.lesson.is_done():
            return
        group = self.build()
        for _ in teach_in_group(self.lesson, group, self.config.base.compute):
            pass
        group.close()

    def _hear(self, name: str, event: TrainingEvent) -> None:
        """Show events as elsewhere, with one line at the end of a training instead of one for each evaluation."""
        if isinstance(event, Evaluated):
            return
        self.terminal.record(name, event)
        if isinstance(event, Ended):
            last = event.best is not None and STAGE_FIRST not in name
            self.terminal.say(f"{name}: " + (f"{self.config.metric} {event.best:.4f}" if last else "trained"))

    @property
    def lesson(self) -> TrialTeacher | None:
        """The tuned student's teacher, where it is not the job's own."""
        return self.plan.lesson(with_values(self.plan.base, self.schedule[0][1]))

    def test(self, rows: dict[str, TokenisedSet], teacher: tuple[str, dict[str, TokenisedSet]] | None) -> dict[str, Right]:
        """Which test rows every system has right, by domain; scored once. The teacher with its own tokens, if there is one."""
        jobs: list[tuple[str, str, ScoreJob]] = []
        for one in self.trained:
            output = storage.join(self.folder, "test", f"{one.system}-{one.domain or 'all'}-seed{one.seed}")
            jobs.append((one.system, one.domain, ScoreJob(_model(one), rows[one.domain].path, output)))
        if teacher is not None:
            models = {TEACHER: teacher[0]} | ({TUNED_TEACHER: self.lesson.model} if self.lesson else {})
            for (system, model), (domain, own) in itertools.product(models.items(), teacher[1].items()):
                output = storage.join(self.folder, "test", f"{system}-{domain or 'all'}")
                jobs.append((system, domain, ScoreJob(model, own.path, output)))
        self._score([job for _, _, job in jobs])
        labels = {domain: load_labels(own.path) for domain, own in rows.items()}
        outputs: dict[str, dict[str, list[str]]] = {}
        for system, domain, job in jobs:
            outputs.setdefault(system, {}).setdefault(domain, []).append(job.output)
        return {
            system: {
                domain: right_of([load_logits(output) for output in found], labels[domain])
                for domain, found in by_domain.items()
            }
            for system, by_domain in outputs.items()
        }

    def save_best(self, provenance: dict[str, object]) -> str:
        """The tuned model of the seed that the validation rows like best, for each domain, with its origin beside it."""
        target = storage.join(self.folder, "best")
        sign = 1 if self.config.mode == "max" else -1
        for domain in dict.fromkeys(one.domain for one in self.trained):
            tuned = [one for one in self.trained if one.system == TUNED and one.domain == domain]
            figures = {one.seed: best_metric(_task(one)) for one in tuned}
            best = max(tuned, key=lambda one: sign * figures[one.seed])
            folder = storage.join(target, domain) if domain else target
            storage.remove(folder)
            storage.upload_dir(_model(best), folder)
            origin = {**provenance, "seed": best.seed, "domain": domain or None, "validation": figures}
            storage.write_json(storage.join(folder, "provenance.json"), origin)
        return target

    def _trainings(self) -> Iterator[Training]:
        base: BaseConfig = self.config.base
        tuned, phases = with_values(base, self.schedule[0][1]), phases_of(base, self.schedule)
        systems: list[tuple[str, Variant, BaseConfig, tuple[Phase, ...]]] = [
            (NO_KD, "no_kd", base, ()),
            (NO_KD_TUNED, "no_kd", tuned, without_distillation(phases)),
            (DEFAULT, "kd", base, ()),
            (TUNED, "kd", tuned, phases),
        ]
        if not self.tunes_baseline:
            systems.pop(1)
        for system, variant, config, own in systems:
            for seed in self.config.final_seeds:
                folder = storage.join(self.folder, "final", system, f"seed{seed}")
                adapt = self._adapt(system, seed, own)
                chains = self.plan.chains(config, variant=variant, seed=seed, folder=folder, adapt=adapt)
                for domain, chain in chains.items():
                    yield Training(system, seed, domain, chain)

    @property
    def tunes_baseline(self) -> bool:
        """Whether the search found other values for the training of the student without distillation."""
        paths, own = self.config.baseline_paths, self.config.base_values
        return any(values[path] != own[path] for _, values in self.schedule for path in paths)

    def baselines(self) -> dict[str, float]:
        """The students without distillation and their mean on the validation rows, over seeds and domains; the best first."""
        found: dict[str, list[float]] = {}
        smaller = False
        for one in self.trained:
            if one.system in {NO_KD, NO_KD_TUNED}:
                found.setdefault(one.system, []).append(best_metric(_task(one)))
                smaller = _task(one).training.metric in SMALLER_IS_BETTER
        means = {system: float(np.mean(bests)) for system, bests in found.items()}
        return dict(sorted(means.items(), key=lambda item: item[1] if smaller else -item[1]))

    def _next_tasks(self) -> list[TrainTask]:
        """The next training of every chain, each once; those on the same rows follow each other, as they share what is read."""
        found: dict[str, TrainTask] = {}
        for one in self.trained:
            task = next(one.chain, None)
            if task is not None:
                one.task = found.setdefault(task.folder, task)
        return sorted(found.values(), key=lambda task: task.train)

    def _adapt(self, system: str, seed: int, phases: tuple[Phase, ...]) -> Adapt:
        """Tasks named for people and the tracker; those that others follow lie where every system with the same one looks."""
        shared = {"group": self.config.name, "tracking": self.config.base.tracking}

        def adapt(task: TrainTask, *, domain: str, last: bool) -> TrainTask:
            task = in_phases(task, phases)
            about = [system.replace("_", " "), "" if last else STAGE_FIRST, domain, f"seed {seed}"]
            changes: dict[str, Any] = {**shared, "name": ", ".join(filter(None, about))}
            changes["key"] = key_of("final", *([system] if last else []), task.key)
            if not last:
                changes["folder"] = storage.join(self.folder, "final", "stage-first", changes["key"][:16])
            if isinstance(task.objective, MetaDistillationObjective):
                both = 2 * len(self.config.final_seeds)  # tuned and the job's own values
                changes["objective"] = task.objective.model_copy(update={"trainings": both})
            return task.model_copy(update=changes)

        return adapt

    def _score(self, jobs: list[ScoreJob]) -> list[SideTable]:
        inputs = [(TokenisedSet.open(job.prepared).fingerprint, model_digest(job.model), job.output) for job in jobs]
        stage = Stage("test", storage.join(self.folder, "test"), key_of("test", inputs))
        compute = self.config.base.compute
        if not stage.is_done():
            stage.begin()
            score(
                jobs,
                actors=compute.prediction_actors,
                cpus_per_actor=compute.cpus_per_worker,
                precision=compute.precision,
                use_gpu=uses_gpu(compute),
                progress=lambda done, total: self.terminal.advance("test rows", done, total),
            )
            stage.finish()
        return [SideTable.open(job.output) for job in jobs]


def phases_of(base: BaseConfig, schedule: Schedule) -> tuple[Phase, ...]:
    """What a student's settings become while it trains, after those it begins with."""
    students = [(start, with_values(base, values).student) for start, values in schedule[1:]]
    return tuple(
        Phase(start=start, learning_rate=student.training.learning_rate, objective=student.objective)
        for start, student in students
        if isinstance(student, StudentConfig)  # the values of a Meta-KD student do not move
    )


def without_distillation(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """The same learning rates for a student that learns from labels alone."""
    return tuple(phase.model_copy(update={"objective": FineTuneConfig()}) for phase in phases)


def in_phases(task: TrainTask, phases: tuple[Phase, ...]) -> TrainTask:
    """A training whose settings change on the way; as it is where there are no phases."""
    if not phases:
        return task
    key = key_of("phases", task.key, [phase.model_dump() for phase in phases])
    return task.model_copy(update={"phases": phases, "key": key})


def _together(task: TrainTask) -> object:
    """The same for what one group takes in order: trainings that share a teacher's states on their rows."""
    return task.train if isinstance(task.objective, MetaDistillationObjective) else task.folder


def _task(one: Training) -> TrainTask:
    if one.task is None:
        raise RuntimeError(f"{one.system} seed {one.seed} was not trained")
    return one.task


def _model(one: Training) -> str:
    return _task(one).model_folder
