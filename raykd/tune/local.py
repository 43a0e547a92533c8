"""One trial in this process: its trainings on the one loop, handed over after each evaluation. Knows nothing of Ray."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch

from raykd.config.tune import Value
from raykd.data.feed import local_feed
from raykd.predict import ScoreJob, score_locally
from raykd.run.task import TrainTask
from raykd.run.training import Training, open_task, resolve_precision, run_task, task_in_parts
from raykd.tracking import Tracker
from raykd.trainers.checkpoint import Checkpoints
from raykd.trainers.context import WorkerContext
from raykd.tune.listen import Listening
from raykd.tune.plan import TrialPlan
from raykd.tune.record import Work
from raykd.tune.turns import Turn, at_once


class TrialRun:
    """A trial on its way. Iterating trains: each item is what is known after another evaluation, the last one what came out."""

    def __init__(
        self,
        plan: TrialPlan,
        index: int,
        values: Mapping[str, Value],
        *,
        folder: str,
        context: WorkerContext,
        tracker: Tracker,
        turn: Turn = at_once,
    ) -> None:
        self._plan, self._index, self._values = plan, index, values
        self.folder = folder
        self.start: Checkpoints | None = None
        """What its one training begins from: another trial's weights. None begins where the trial was left."""
        self._context, self._turn = context, turn
        self._heard = Listening(tracker, plan.metric)
        self._training: Training | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        yield from self._teach()
        chains = self._plan.chains(self._index, self._values, self.folder)
        for domain, chain in chains.items():
            for link, task in enumerate(chain, 1):
                final = link == self._plan.plan.links
                self._heard.begin(domain)
                for best in self._train(task, keep_model=not final):
                    yield self._heard.report(best if final and len(chains) == 1 else None)
                self._heard.end(task, final=final)
                if not final:
                    self._plan.offer(task)
        yield self._heard.last_report()

    def save(self, checkpoints: Checkpoints) -> None:
        """Write the training's state after the last evaluation; without its best, which another trial did not reach itself."""
        if self._training is None:
            raise RuntimeError("a trial is saved while it trains")
        checkpoints.save(self._training.engine, self._heard.step, {"selection": {}})

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
        run_task(task, self._context, build_feed=local_feed)

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
        if task.is_done():
            return
        opened, ran = open_task(task, self._context, local_feed, checkpoints=self.start), 0
        for training in task_in_parts(opened, self._context, listeners=(self._heard.hear,), keep_model=keep_model):
            self._heard.work += Work(teacher_forwards=training.teacher_forwards - ran)
            ran = training.teacher_forwards
            if training is not self._training:
                self._training = training
            elif self._heard.step < opened.total:
                yield training.selection.best
        self._training = None
