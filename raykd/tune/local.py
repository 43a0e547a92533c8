"""One trial in this process: its trainings on the one loop, handed over after each evaluation. Knows nothing of Ray."""

from collections.abc import Iterator, Mapping
from typing import Any

from raykd.config.tune import Value
from raykd.data.feed import local_feed
from raykd.metakd.distill import MetaDistillation
from raykd.metakd.records import ThriftyTeacher
from raykd.metakd.targets import FeatureTeacher, LiveTeacher
from raykd.run.task import TrainTask
from raykd.run.training import Training, open_task, task_in_parts
from raykd.tracking import Tracker
from raykd.trainers.checkpoint import Checkpoints
from raykd.trainers.context import WorkerContext
from raykd.tune.listen import Listening
from raykd.tune.plan import TrialPlan
from raykd.tune.record import Work


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
    ) -> None:
        self._plan, self._index, self._values = plan, index, values
        self.folder = folder
        self.start: Checkpoints | None = None
        """What its one training begins from: another trial's weights. None begins where the trial was left."""
        self._context = context
        self._heard = Listening(tracker)
        self._training: Training | None = None

    def __iter__(self) -> Iterator[dict[str, Any]]:
        chains = self._plan.chains(self._index, self._values, self.folder)
        for domain, chain in chains.items():
            for link, task in enumerate(chain, 1):
                final = link == self._plan.plan.links
                self._heard.begin(task, domain)
                for best in self._train(task, keep_model=not final):
                    yield self._heard.report(best if final and len(chains) == 1 else None)
                self._heard.end(task, final=final)
        yield self._heard.last_report()

    def save(self, checkpoints: Checkpoints) -> None:
        """Write the training's state after the last evaluation; without its best, which another trial did not reach itself."""
        if self._training is None:
            raise RuntimeError("a trial is saved while it trains")
        checkpoints.save(self._training.engine, self._heard.step, {"selection": {}})

    def _train(self, task: TrainTask, *, keep_model: bool) -> Iterator[float | None]:
        """The best so far after each evaluation but the last, which is for the report of what came out."""
        if task.is_done():
            return
        opened = open_task(task, self._context, local_feed, checkpoints=self.start)
        for training in task_in_parts(opened, self._context, listeners=(self._heard.hear,), keep_model=keep_model):
            if training is self._training:
                if self._heard.step < opened.total:
                    yield training.selection.best
                continue
            self._training = training
            if isinstance(training.objective, MetaDistillation):
                self._watch_teacher(training.objective.teacher)
        self._training = None

    def _watch_teacher(self, teacher: FeatureTeacher) -> None:
        live = teacher.live if isinstance(teacher, ThriftyTeacher) else teacher
        if isinstance(live, LiveTeacher):
            live.model.register_forward_hook(self._count_forward)

    def _count_forward(self, *_: Any) -> None:
        self._heard.work += Work(teacher_forwards=1)
