"""The final trainings of a search: the best values on the full budget with several seeds, and what they are compared with.

If population-based training changed the best trial's values during training, they change here at the same fractions of the
steps. The tuned student is compared with the job's own values and with the same student without distillation.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from raykd.cluster import placement_of, training_resources
from raykd.config import ComputeConfig, FineTuneConfig, TuneConfig, with_values
from raykd.config.tune import BaseConfig
from raykd.data import storage
from raykd.placement import Placement, wide
from raykd.progress import Terminal
from raykd.run.parallel_groups import Group, ParallelGroups
from raykd.run.task import Phase, TrainTask, key_of
from raykd.task_kinds import task_kind
from raykd.trainers.events import Ended, Evaluated, TrainingEvent
from raykd.tune.jobs import JobPlan, Variant
from raykd.tune.jobs.job_plan import AdaptTask, TaskChain, share_teacher_states, values_at_start
from raykd.tune.search_systems import DEFAULT, NO_KD, NO_KD_TUNED, TUNED
from raykd.tune.teacher_locks import make_teacher_in_group
from raykd.tune.trial_metrics import best_metric
from raykd.tune.trial_record import ValueSchedule
from raykd.tune.trial_teacher import TrialTeacher

INTERMEDIATE = "intermediate layers"
"""Display name of a training that another one follows."""


@dataclass
class FinalTraining:
    """The training of one student: a system, a seed, a domain."""

    system: str
    seed: int
    domain: str
    chain: TaskChain
    current: TrainTask | None = None
    """The task that trains; the last one of the chain when all are done."""

    @property
    def task(self) -> TrainTask:
        """The current task, or the last one of the chain when all are done."""
        if self.current is None:
            raise RuntimeError(f"{self.system} seed {self.seed} was not trained")
        return self.current


@dataclass(frozen=True)
class ComparedSystem:
    """A student of the final comparison."""

    name: str
    variant: Variant
    config: BaseConfig
    phases: tuple[Phase, ...] = ()


@dataclass
class FinalTrainings:
    """Trains every system of the final comparison with every final seed."""

    config: TuneConfig
    plan: JobPlan[Any]
    schedule: ValueSchedule
    """The best trial's values over time."""
    folder: str
    new_group: Callable[[Placement], Group]
    """Builder of a worker group."""
    terminal: Terminal
    compute: ComputeConfig
    """Settings of the trainings; their placement follows from these."""
    trained: list[FinalTraining] = field(default_factory=list)

    def run(self) -> list[FinalTraining]:
        """Train every student: first all tasks that begin a chain, then all that follow them."""
        groups = ParallelGroups(self.new_group, self._on_event, lambda: training_resources(self.compute))
        try:
            self._make_teacher()
            self.trained = list(self._trainings())
            while tasks := self._next_tasks():
                pending = [task for task in tasks if not task.is_done()]
                if len(pending) < len(tasks):
                    self.terminal.print_line(
                        f"{len(tasks) - len(pending)} of {len(tasks)} final trainings finished before, skipped"
                    )
                if pending:
                    groups.run(pending, placement_of(self.compute, len(self.trained)))
        finally:
            groups.close()
        return self.trained

    @property
    def teacher(self) -> TrialTeacher | None:
        """The tuned student's teacher; None for the job's own."""
        return self.plan.trial_teacher(self._tuned_config)

    def tuned(self, domain: str) -> list[FinalTraining]:
        """Trainings of the tuned student in a domain, one a seed."""
        return [one for one in self.trained if one.system == TUNED and one.domain == domain]

    def systems(self) -> list[ComparedSystem]:
        """The students of the comparison, the tuned one last."""
        phases = self.plan.phases(self.schedule)
        systems = [ComparedSystem(NO_KD, "no_kd", self.config.base)]
        if self._tunes_baseline():
            systems.append(ComparedSystem(NO_KD_TUNED, "no_kd", self._tuned_config, without_distillation(phases)))
        systems.append(ComparedSystem(DEFAULT, "kd", self.config.base))
        systems.append(ComparedSystem(TUNED, "kd", self._tuned_config, phases))
        return systems

    def baselines(self) -> dict[str, float]:
        """Mean validation metric, over seeds and domains, of each student without distillation; the best first."""
        found: dict[str, list[float]] = {}
        smaller = False
        for one in self.trained:
            if one.system in {NO_KD, NO_KD_TUNED}:
                found.setdefault(one.system, []).append(best_metric(one.task))
                metric = one.task.training.metric
                smaller = metric is not None and task_kind(one.task.task_kind).smaller_is_better(metric)
        means = {system: float(np.mean(bests)) for system, bests in found.items()}
        return dict(sorted(means.items(), key=lambda item: item[1] if smaller else -item[1]))

    @property
    def _tuned_config(self) -> BaseConfig:
        return with_values(self.config.base, values_at_start(self.schedule))

    def _tunes_baseline(self) -> bool:
        """Return True when the search found other values for the training of the student without distillation."""
        own = self.config.base_values
        return any(values[path] != own[path] for _, values in self.schedule for path in self.config.baseline_paths)

    def _make_teacher(self) -> None:
        """Make the tuned student's own teacher if its trial's has been removed."""
        teacher = self.teacher
        if teacher is None or teacher.is_done():
            return
        group = self.new_group(wide(self.compute))
        for _ in make_teacher_in_group(teacher, group, self.compute):
            pass
        group.close()

    def _on_event(self, name: str, event: TrainingEvent) -> None:
        """Show events as elsewhere, with one line at the end of a training instead of one for each evaluation."""
        if isinstance(event, Evaluated):
            return
        self.terminal.record(name, event)
        if isinstance(event, Ended):
            last = event.best is not None and INTERMEDIATE not in name
            result = f"{self.config.metric} {event.best:.4f} on the validation rows" if last else "trained"
            self.terminal.print_line(f"{name}: {result}")

    def _trainings(self) -> Iterator[FinalTraining]:
        for system in self.systems():
            for seed in self.config.final_seeds:
                folder = storage.join(self.folder, "final", system.name, f"seed{seed}")
                adapt = self._adapt(system, seed)
                chains = self.plan.chains(system.config, variant=system.variant, seed=seed, folder=folder, adapt=adapt)
                for domain, chain in chains.items():
                    yield FinalTraining(system.name, seed, domain, chain)

    def _next_tasks(self) -> list[TrainTask]:
        """The next task of every chain, equal tasks once. Tasks on the same rows are neighbours, as they share what is read."""
        found: dict[str, TrainTask] = {}
        for one in self.trained:
            task = next(one.chain, None)
            if task is not None:
                one.current = found.setdefault(task.folder, task)
        return sorted(found.values(), key=lambda task: task.train)

    def _adapt(self, system: ComparedSystem, seed: int) -> AdaptTask:
        """Name tasks for people and the tracker; put tasks that others follow where every system finds them."""
        tracked = {"group": self.config.name, "tracking": self.config.base.tracking}

        def adapt(task: TrainTask, *, domain: str, last: bool) -> TrainTask:
            task = in_phases(task, system.phases)
            words = [system.name.replace("_", " "), "" if last else INTERMEDIATE, domain, f"seed {seed}"]
            changes: dict[str, Any] = {**tracked, "name": ", ".join(filter(None, words))}
            changes["key"] = key_of("final", *([system.name] if last else []), task.key)
            if not last:
                changes["folder"] = storage.join(self.folder, "final", "intermediate", changes["key"][:16])
            # the tuned and the default student of every seed
            task = share_teacher_states(task, trainings=2 * len(self.config.final_seeds))
            return task.model_copy(update=changes)

        return adapt


def without_distillation(phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
    """The same learning rates for a student that learns from labels alone."""
    return tuple(phase.model_copy(update={"objective": FineTuneConfig()}) for phase in phases)


def in_phases(task: TrainTask, phases: tuple[Phase, ...]) -> TrainTask:
    """The task with settings that change during training; unchanged without phases."""
    if not phases:
        return task
    key = key_of("phases", task.key, [phase.model_dump() for phase in phases])
    return task.model_copy(update={"phases": phases, "key": key})
