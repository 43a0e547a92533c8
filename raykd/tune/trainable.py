"""Trials as Ray Tune runs them: in an actor that takes one trial after the other, or as the driver of a worker group."""

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from ray import tune

from raykd.config import TrackingConfig
from raykd.config.search_space import Value
from raykd.data import storage
from raykd.trainers.events import Ended, Evaluated, TrainingEvent
from raykd.tune.teacher_locks import Lock, TeacherLocks, make_teacher_in_group, no_lock
from raykd.tune.trial_plan import TrialPlan
from raykd.tune.trial_record import SharedWorkCount, TrialJournal


def trial_name(trial: Any) -> str:
    """The name of a trial in Ray Tune: its number.

    It must not be read in a trial's config, which population-based training replaces with a copy of another trial's.
    """
    return f"{trial.config['index']:04d}"


@dataclass(frozen=True)
class TrialSettings:
    """Settings of every trial of a search."""

    plan: TrialPlan
    journal: TrialJournal
    group: str
    """Name of the search, the group of its runs in the tracker."""
    tracking: TrackingConfig
    threads: int
    """PyTorch threads of an actor that trains."""
    locks: TeacherLocks | None = None
    """Locks of teachers that several trials may need; None when no trial has a teacher of its own."""

    def lock(self, index: int) -> Lock:
        """The lock with which a trial waits for a teacher that another one makes."""
        return no_lock if self.locks is None else functools.partial(self.locks.lock, index)


class LocalTrial(tune.Trainable):  # type: ignore[misc]  # Ray's classes have no types
    """A trial on one worker. Each step of Ray Tune trains up to the next evaluation."""

    def setup(self, config: dict[str, Any], *, settings: TrialSettings) -> None:
        """Set up what the trials of this actor share."""
        import ray
        import torch

        from raykd.freed_memory import keep_freed_memory
        from raykd.trainers.context import local_context

        keep_freed_memory()
        torch.set_num_threads(settings.threads)
        self._settings = settings
        self._stack = ExitStack()
        self._context = self._stack.enter_context(local_context("cuda" if ray.get_gpu_ids() else "cpu"))
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Start another trial, or the same one again with other values."""
        self._end()
        self._begin(new_config)
        return True

    def step(self) -> dict[str, Any]:
        """Train up to the next evaluation."""
        report = next(self._reports)
        if report.get("complete"):
            self._end({"best/value": report["value"]})
        return {**report, "done": report.get("complete", False)}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, int]:  # noqa: ARG002 (Ray Tune's folder stays empty)
        """Write a checkpoint into the trial's own folder, where every trial of the population finds it."""
        return asdict(self._run.save())

    def load_checkpoint(self, checkpoint: dict[str, int]) -> None:
        """Continue from the checkpoint of this or another trial. Called before the first step."""
        from raykd.tune.local_trial import CheckpointRef

        self._run.start = CheckpointRef(**checkpoint)

    def cleanup(self) -> None:
        """Release what the actor holds."""
        from raykd.trainers.features.stored_states import close_shared_stores

        self._end()
        close_shared_stores()
        self._stack.close()

    def _begin(self, config: dict[str, Any]) -> None:
        from raykd.tune.local_trial import TrialRun

        index, values, settings = int(self.trial_name), config["values"], self._settings
        self._tracker = open_trial_tracker(settings, index, values)
        self._run = TrialRun(
            settings.plan, index, values,
            journal=settings.journal, context=self._context, tracker=self._tracker, lock=settings.lock(index),
        )  # fmt: skip
        self._reports: Iterator[dict[str, Any]] = iter(self._run)

    def _end(self, summary: Mapping[str, float] | None = None) -> None:
        """Close what the trial holds, also after it was stopped early."""
        if self._tracker is not None:
            self._reports.close()  # type: ignore[attr-defined]  # a generator, held as the iterator it is used as
            self._tracker.finish(summary)
            self._tracker = None


def open_trial_tracker(settings: TrialSettings, index: int, values: dict[str, Value]) -> Any:
    """Open the tracker's run of a trial."""
    from raykd.tracking import open_tracker

    return open_tracker(
        settings.tracking.kind,
        project=settings.tracking.project,
        run_name=f"trial {index}",
        group=settings.group,
        run_id=f"{settings.group}-trial-{index}",
        config={"values": values, "job": settings.plan.job.base.model_dump(mode="json")},
        folder=storage.join(settings.journal.trial_folder(index), "tracking"),
    )


class GroupTrial:
    """A trial whose training takes several workers: a driver that holds no CPU, and a worker group that holds them."""

    def __init__(self, index: int, values: dict[str, Value], settings: TrialSettings) -> None:
        from raykd.run.worker_group import WorkerGroup
        from raykd.tune.trial_metrics import TrialMetrics

        self._index, self._values, self._settings, self._plan = index, values, settings, settings.plan
        self._folder = settings.journal.trial_folder(index)
        self._tracker = open_trial_tracker(settings, index, values)
        self._metrics = TrialMetrics(self._tracker, settings.plan.metric)
        self._group = WorkerGroup(
            self._plan.job.base.compute,
            storage=storage.join(self._folder, "ray"),
            name=f"{settings.group}-trial-{index}",
            build_objective=self._plan.job.build_objective,
        )

    def run(self) -> None:
        """Train, and report to Ray Tune after each evaluation."""
        self._make_teacher()
        chains = self._plan.chains(self._index, self._values, self._folder)
        for domain, chain in chains.items():
            for position, task in enumerate(chain, 1):
                last = position == self._plan.job.chain_length
                self._metrics.begin_training(domain)
                if not task.is_done():
                    self._group.run([task], self._reporter(with_value=last and len(chains) == 1))
                self._metrics.end_training(task, last=last)
                if not last:
                    self._plan.offer(task)
        self._group.close()
        report = self._metrics.final_report()
        self._tracker.finish({"best/value": report["value"]})
        tune.report(report)

    def _make_teacher(self) -> None:
        teacher = self._plan.trial_teacher(self._values)
        if teacher is None or teacher.is_done():
            return
        with self._settings.lock(self._index)(teacher.task.key):
            for work in make_teacher_in_group(teacher, self._group, self._plan.job.base.compute):
                self._metrics.work += work
                tune.report(self._metrics.report())

    def _reporter(self, *, with_value: bool) -> Callable[[str, TrainingEvent], None]:
        """Return a listener that reports each evaluation; ``with_value`` for the training whose metric is the trial's."""
        best: float | None = None

        def on_event(_: str, event: TrainingEvent) -> None:
            nonlocal best
            self._metrics.record(event)
            if isinstance(event, Ended):
                self._metrics.work += SharedWorkCount(teacher_forwards=event.teacher_forwards or 0)  # counted by the workers
            if isinstance(event, Evaluated):
                best = self._metrics.current if event.best else best
                tune.report(self._metrics.report(best if with_value else None))

        return on_event


def group_trial(config: dict[str, Any], *, settings: TrialSettings) -> None:
    """Run a trial in a worker group, as a function of Ray Tune's."""
    GroupTrial(int(tune.get_context().get_trial_name()), config["values"], settings).run()
