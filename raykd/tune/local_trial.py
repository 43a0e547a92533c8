"""A trial in this process, without Ray: an iterator over its evaluations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from raykd.config.search_space import Value
from raykd.data.step_stream import local_feed
from raykd.errors import CheckpointError
from raykd.predict import ScoreJob
from raykd.run.scoring import score_in_process
from raykd.run.task import TrainTask
from raykd.run.train_task import OpenTask, open_task, run_task, train_by_evaluation
from raykd.tracking import Tracker
from raykd.trainers.checkpoint import Checkpoints
from raykd.trainers.context import WorkerContext
from raykd.trainers.events import CheckpointSaved, TrainingEvent
from raykd.trainers.trainer import Trainer
from raykd.tune.teacher_locks import Lock, no_lock
from raykd.tune.trial_metrics import TrialMetrics
from raykd.tune.trial_plan import TrialPlan
from raykd.tune.trial_record import LineagePart, SharedWorkCount, TrialJournal


@dataclass(frozen=True)
class CheckpointRef:
    """A checkpoint of a trial under population-based training."""

    trial: int
    step: int


class TrialRun:
    """A trial that trains while it is iterated: each item is the report after an evaluation, the last one the result."""

    def __init__(
        self,
        plan: TrialPlan,
        index: int,
        values: Mapping[str, Value],
        *,
        journal: TrialJournal,
        context: WorkerContext,
        tracker: Tracker,
        lock: Lock = no_lock,
    ) -> None:
        self._plan, self._index, self._values, self._journal = plan, index, values, journal
        self.start: CheckpointRef | None = None
        """Checkpoint to continue from under population-based training; None continues from the trial's own last one."""
        self._context, self._lock = context, lock
        self._metrics = TrialMetrics(tracker, plan.metric)
        self._trainer: Trainer | None = None
        self._saved = 0
        self._lineage: tuple[LineagePart, ...] = ()

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self._make_teacher()
        chains = self._plan.chains(self._index, self._values, self._journal.trial_folder(self._index))
        for domain, chain in chains.items():
            for position, task in enumerate(chain, 1):
                last = position == self._plan.job.chain_length
                self._metrics.begin_training(domain)
                for best in self._train(task, keep_model=not last):
                    yield self._with_lineage(self._metrics.report(best if last and len(chains) == 1 else None))
                self._metrics.end_training(task, last=last)
                if not last:
                    self._plan.offer(task)
        yield self._with_lineage(self._metrics.final_report())

    def save(self) -> CheckpointRef:
        """Write a checkpoint after the last evaluation, unless the training has just done so."""
        if self._trainer is None:
            raise RuntimeError("a trial is saved while it trains")
        if self._saved != self._metrics.step:
            self._trainer.save_checkpoint()
            self._saved = self._metrics.step
        return CheckpointRef(self._index, self._saved)

    def _make_teacher(self) -> Iterator[dict[str, Any]]:
        """Make the trial's own teacher, unless another trial has; yield a report after each part of it."""
        teacher = self._plan.trial_teacher(self._values)
        if teacher is None or teacher.is_done():
            return
        with self._lock(teacher.task.key):
            for work in teacher.make(self._train_teacher, self._score):
                self._metrics.work += work
                yield self._metrics.report()

    def _train_teacher(self, task: TrainTask) -> None:
        run_task(task, self._context, build_feed=local_feed, build_objective=self._plan.job.build_objective)

    def _score(self, jobs: Sequence[ScoreJob]) -> None:
        score_in_process(jobs, self._plan.job.base.compute, self._context.device)

    def _train(self, task: TrainTask, *, keep_model: bool) -> Iterator[float | None]:
        """Yield the best metric so far after each evaluation but the last, which the final report has."""
        moves = self._plan.interval is not None
        if task.is_done() and not moves:
            return
        opened, counted = open_task(task, self._context, local_feed, start_from=self._start_from()), 0
        parts = train_by_evaluation(
            opened,
            self._context,
            build_objective=self._plan.job.build_objective,
            listeners=(self._record,),
            keep_model=keep_model,
            keep_checkpoints=moves,
        )
        for trainer in parts:
            self._metrics.work += SharedWorkCount(teacher_forwards=trainer.teacher_forwards - counted)
            counted = trainer.teacher_forwards
            if trainer is not self._trainer:
                self._trainer = trainer
                if moves:
                    trainer.checkpointer.extra["lineage"] = self._extend_lineage(opened)
            elif self._metrics.step < opened.total_steps:
                yield trainer.model_selection.best
        self._trainer = None

    def _extend_lineage(self, opened: OpenTask) -> list[dict[str, Any]]:
        """Add this trial to the lineage of the weights it continues from; return it as checkpoints keep it."""
        before = opened.source.position(opened.start)["lineage"] if opened.start else []
        kept = [LineagePart.model_validate(one) for one in before]
        self._lineage = lineage(kept, opened.start, self._index, self._values)
        return [one.model_dump(mode="json") for one in self._lineage]

    def _start_from(self) -> tuple[Checkpoints, int] | None:
        """The checkpoint to continue from, or a newer one of that trial if it is gone. Raises CheckpointError."""
        if self.start is None:
            return None
        folder = self._journal.trial_folder(self.start.trial)
        donor = next(self._plan.chains(self.start.trial, self._values, folder)[""])
        checkpoints = Checkpoints(donor.checkpoints, identity=donor.key, context=self._context)
        step = self.start.step if checkpoints.has(self.start.step) else checkpoints.latest_step()
        if step is None:
            raise CheckpointError(
                f"{checkpoints.folder} has no checkpoint to continue from: it was deleted while the search ran"
            )
        return checkpoints, step

    def _record(self, event: TrainingEvent) -> None:
        self._metrics.record(event)
        if isinstance(event, CheckpointSaved):
            self._saved = event.step

    def _with_lineage(self, report: dict[str, Any]) -> dict[str, Any]:
        return {**report, "lineage": [one.model_dump(mode="json") for one in self._lineage]} if self._lineage else report


def lineage(before: list[LineagePart], step: int, trial: int, values: Mapping[str, Value]) -> tuple[LineagePart, ...]:
    """The lineage of weights that ``trial`` continues to train after ``step`` steps; ``before`` is their lineage until then."""
    if before and (before[-1].trial, before[-1].values) == (trial, dict(values)):
        return tuple(before)
    return (*before, LineagePart(step=step, trial=trial, values=dict(values)))
