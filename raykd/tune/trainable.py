"""Trials as Ray Tune runs them: in the trial's own actor, which then takes the next trial without importing anything again."""

import functools
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

from ray import tune

from raykd.config import TrackingConfig
from raykd.config.search_space import Value
from raykd.data import storage
from raykd.trainers.events import Ended, Evaluated, TrainingEvent
from raykd.tune.trial_plan import TrialPlan
from raykd.tune.trial_record import Journal, Work
from raykd.tune.trial_teacher_turns import Turn, Turns, at_once, teach_in_group


def trial_name(trial: Any) -> str:
    """What Ray Tune calls a trial, from its birth to its end: its number.

    It must not be looked up in a trial's config, which population-based training replaces with a copy of another trial's.
    """
    return f"{trial.config['index']:04d}"


@dataclass(frozen=True)
class TrialSettings:
    """What every trial of a search is told."""

    plan: TrialPlan
    journal: Journal
    group: str
    """Name of the search, under which its runs are tracked."""
    tracking: TrackingConfig
    threads: int
    """Of PyTorch, in an actor that trains."""
    turns: Turns | None = None
    """Who makes a teacher that several trials may need; none where no trial has one of its own."""

    def turn(self, index: int) -> Turn:
        """How a trial waits for what another one makes."""
        return at_once if self.turns is None else functools.partial(self.turns.of, index)


class LocalTrial(tune.Trainable):  # type: ignore[misc]  # Ray's classes have no types
    """A trial on one worker. Each step of Ray Tune's trains up to the next evaluation."""

    def setup(self, config: dict[str, Any], *, settings: TrialSettings) -> None:
        """Once for an actor: everything that trials can share."""
        import ray
        import torch

        from raykd.trainers.context import local_context

        torch.set_num_threads(settings.threads)
        self._settings = settings
        self._stack = ExitStack()
        self._context = self._stack.enter_context(local_context("cuda" if ray.get_gpu_ids() else "cpu"))
        self._begin(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take another trial, or the same one again, maybe with other values."""
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
        """Where the state of training lies: in the trial's own folder, from which any trial of the population reads it."""
        return asdict(self._run.save())

    def load_checkpoint(self, checkpoint: dict[str, int]) -> None:
        """Go on from where a trial was saved, this one or another, before the first step."""
        from raykd.tune.local import Place

        self._run.start = Place(**checkpoint)

    def cleanup(self) -> None:
        """The actor ends."""
        from raykd.trainers.features.stored_states import close_shared_stores

        self._end()
        close_shared_stores()
        self._stack.close()

    def _begin(self, config: dict[str, Any]) -> None:
        from raykd.tune.local import TrialRun

        index, values, settings = int(self.trial_name), config["values"], self._settings
        self._tracker = open_trial_tracker(settings, index, values)
        self._run = TrialRun(
            settings.plan, index, values,
            journal=settings.journal, context=self._context, tracker=self._tracker, turn=settings.turn(index),
        )  # fmt: skip
        self._reports: Iterator[dict[str, Any]] = iter(self._run)

    def _end(self, summary: Mapping[str, float] | None = None) -> None:
        """Close what the trial holds; also one that was stopped on its way."""
        if self._tracker is not None:
            self._reports.close()  # type: ignore[attr-defined]  # a generator, held as the iterator it is used as
            self._tracker.finish(summary)
            self._tracker = None


def open_trial_tracker(settings: TrialSettings, index: int, values: dict[str, Value]) -> Any:
    """The one writer of a trial's run."""
    from raykd.tracking import open_tracker

    return open_tracker(
        settings.tracking.kind,
        project=settings.tracking.project,
        run_name=f"trial {index}",
        group=settings.group,
        run_id=f"{settings.group}-trial-{index}",
        config={"values": values, "job": settings.plan.plan.base.model_dump(mode="json")},
        folder=storage.join(settings.journal.trial_folder(index), "tracking"),
    )


def grouped_trial(config: dict[str, Any], *, settings: TrialSettings) -> None:
    """A trial whose training takes several workers: a driver that holds no CPU, and a ``TorchTrainer`` that holds them."""
    from raykd.metakd.build_meta_objective import build_meta_objective
    from raykd.run.worker_group import TrainingGroup
    from raykd.tune.listen import Listening

    index, plan = int(tune.get_context().get_trial_name()), settings.plan
    folder = settings.journal.trial_folder(index)
    tracker = open_trial_tracker(settings, index, config["values"])
    heard = Listening(tracker, plan.metric)
    group = TrainingGroup(
        plan.plan.base.compute,
        storage=storage.join(folder, "ray"),
        name=f"{settings.group}-trial-{index}",
        build_objective=build_meta_objective,
    )
    lesson = plan.lesson(config["values"])
    if lesson is not None and not lesson.is_done():
        with settings.turn(index)(lesson.task.key):
            for work in teach_in_group(lesson, group, plan.plan.base.compute):
                heard.work += work
                tune.report(heard.report())
    chains = plan.chains(index, config["values"], folder)
    for domain, chain in chains.items():
        for link, task in enumerate(chain, 1):
            final = link == plan.plan.links
            heard.begin(domain)
            if not task.is_done():
                group.run([task], _reporting(heard, speaks=final and len(chains) == 1))
            heard.end(task, final=final)
            if not final:
                plan.offer(task)
    group.close()
    report = heard.last_report()
    tracker.finish({"best/value": report["value"]})
    tune.report(report)


def _reporting(heard: Any, *, speaks: bool) -> Any:
    """Tells Ray Tune of each evaluation; ``speaks`` says that its figure is the trial's."""
    best = None

    def on_event(_: str, event: TrainingEvent) -> None:
        nonlocal best
        heard.hear(event)
        if isinstance(event, Ended):
            heard.work += Work(teacher_forwards=event.teacher_forwards or 0)  # the workers' own count
        if isinstance(event, Evaluated):
            best = heard.current if event.best else best
            tune.report(heard.report(best if speaks else None))

    return on_event
