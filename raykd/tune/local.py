"""One trial in this process: its trainings on the one loop, handed over after each evaluation. Knows nothing of Ray."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from raykd.config.search_space import Value
from raykd.data.step_stream import local_feed
from raykd.errors import CheckpointError
from raykd.metakd.build_meta_objective import build_meta_objective
from raykd.predict import ScoreJob, score_locally
from raykd.run.task import TrainTask
from raykd.run.train_task import open_task, run_task, task_in_parts
from raykd.run.trainer import OpenTask, Trainer, resolve_precision
from raykd.tracking import Tracker
from raykd.trainers.checkpoint import Checkpoints
from raykd.trainers.context import WorkerContext
from raykd.trainers.events import CheckpointSaved, TrainingEvent
from raykd.tune.listen import Listening
from raykd.tune.trial_plan import TrialPlan
from raykd.tune.trial_record import Journal, Stretch, Work
from raykd.tune.trial_teacher_turns import Turn, at_once


@dataclass(frozen=True)
class Place:
    """A checkpoint of a trial whose knobs move."""

    trial: int
    step: int


class TrialRun:
    """A trial on its way. Iterating trains: each item is what is known after another evaluation, the last one what came out."""

    def __init__(
        self,
        plan: TrialPlan,
        index: int,
        values: Mapping[str, Value],
        *,
        journal: Journal,
        context: WorkerContext,
        tracker: Tracker,
        turn: Turn = at_once,
    ) -> None:
        self._plan, self._index, self._values, self._journal = plan, index, values, journal
        self.start: Place | None = None
        """What its one training goes on from, where knobs move; none goes on where the trial was left."""
        self._context, self._turn = context, turn
        self._heard = Listening(tracker, plan.metric)
        self._trainer: Trainer | None = None
        self._saved = 0
        self._lineage: tuple[Stretch, ...] = ()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self._teach()
        chains = self._plan.chains(self._index, self._values, self._journal.trial_folder(self._index))
        for domain, chain in chains.items():
            for link, task in enumerate(chain, 1):
                final = link == self._plan.plan.links
                self._heard.begin(domain)
                for best in self._train(task, keep_model=not final):
                    yield self._with_lineage(self._heard.report(best if final and len(chains) == 1 else None))
                self._heard.end(task, final=final)
                if not final:
                    self._plan.offer(task)
        yield self._with_lineage(self._heard.last_report())

    def save(self) -> Place:
        """A checkpoint of the state after the last evaluation, written unless the training has just done so."""
        if self._trainer is None:
            raise RuntimeError("a trial is saved while it trains")
        if self._saved != self._heard.step:
            self._trainer.save_checkpoint(self._heard.step)
            self._saved = self._heard.step
        return Place(self._index, self._saved)

    def _teach(self) -> Iterator[dict[str, Any]]:
        """Make the teacher that its values ask for, unless another trial has; a report after each part of it."""
        lesson = self._plan.lesson(self._values)
        if lesson is None or lesson.is_done():
            return
        with self._turn(lesson.task.key):
            for work in lesson.teach(self._train_teacher, self._score):
                self._heard.work += work
                yield self._heard.report()

    def _train_teacher(self, task: TrainTask) -> None:
        run_task(task, self._context, build_feed=local_feed, build_objective=build_meta_objective)

    def _score(self, jobs: Sequence[ScoreJob]) -> None:
        device = self._context.device
        score_locally(
            jobs,
            threads=torch.get_num_threads(),
            precision=resolve_precision(self._plan.plan.base.compute.precision, device),
            use_gpu=device.type == "cuda",
        )

    def _train(self, task: TrainTask, *, keep_model: bool) -> Iterator[float | None]:
        """The best so far after each evaluation but the last, which is for the report of what came out."""
        moves = self._plan.interval is not None
        if task.is_done() and not moves:
            return
        opened, ran = open_task(task, self._context, local_feed, start_from=self._start_from()), 0
        parts = task_in_parts(
            opened,
            self._context,
            build_objective=build_meta_objective,
            listeners=(self._hear,),
            keep_model=keep_model,
            keep_checkpoints=moves,
        )
        for trainer in parts:
            self._heard.work += Work(teacher_forwards=trainer.teacher_forwards - ran)
            ran = trainer.teacher_forwards
            if trainer is not self._trainer:
                self._trainer = trainer
                if moves:
                    trainer.position["lineage"] = self._descend(opened)
            elif self._heard.step < opened.total:
                yield trainer.model_selection.best
        self._trainer = None

    def _descend(self, opened: OpenTask) -> list[dict[str, Any]]:
        """Note whose weights it goes on with, and with which knobs; what its checkpoints keep of that."""
        before = opened.source.position(opened.start)["lineage"] if opened.start else []
        kept = [Stretch.model_validate(one) for one in before]
        self._lineage = lineage(kept, opened.start, self._index, self._values)
        return [one.model_dump(mode="json") for one in self._lineage]

    def _start_from(self) -> tuple[Checkpoints, int] | None:
        """The checkpoint to go on from; a newer one of that trial where it has gone on meanwhile. Raises CheckpointError."""
        if self.start is None:
            return None
        folder = self._journal.trial_folder(self.start.trial)
        donor = next(self._plan.chains(self.start.trial, self._values, folder)[""])
        checkpoints = Checkpoints(donor.checkpoints, identity=donor.key)
        step = self.start.step if checkpoints.has(self.start.step) else checkpoints.latest_step()
        if step is None:
            raise CheckpointError(f"{checkpoints.folder} has no checkpoint to go on from: it was deleted while the search ran")
        return checkpoints, step

    def _hear(self, event: TrainingEvent) -> None:
        self._heard.hear(event)
        if isinstance(event, CheckpointSaved):
            self._saved = event.step

    def _with_lineage(self, report: dict[str, Any]) -> dict[str, Any]:
        return {**report, "lineage": [one.model_dump(mode="json") for one in self._lineage]} if self._lineage else report


def lineage(before: list[Stretch], step: int, trial: int, values: Mapping[str, Value]) -> tuple[Stretch, ...]:
    """The stretches of weights that ``trial`` goes on with, which have ``step`` steps and ``before`` behind them."""
    if before and (before[-1].trial, before[-1].values) == (trial, dict(values)):
        return tuple(before)
    return (*before, Stretch(step=step, trial=trial, values=dict(values)))
