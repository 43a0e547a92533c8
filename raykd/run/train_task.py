"""A training task on a worker: opened where its last checkpoint lies, run to its end, marked as done."""

import math
from collections.abc import Callable, Iterator, Sequence

from raykd.config import TrainingConfig
from raykd.data.step_stream import Feed, StepRows
from raykd.data.tokenised_set import TokenisedSet
from raykd.models import verify_trained_model
from raykd.run.build_objective import BuildObjective, build_objective
from raykd.run.task import TrainTask
from raykd.run.trainer import ControlRequests, OpenTask, Trainer
from raykd.trainers.checkpoint import Checkpoints
from raykd.trainers.context import WorkerContext
from raykd.trainers.event_log import Listener

BuildFeed = Callable[..., Feed]

LEAD_STEPS = 200
"""Steps before a task's end at which the next task's rows are sent for: about what Ray Data takes to deliver the first."""


def open_task(
    task: TrainTask, context: WorkerContext, build_feed: BuildFeed, *, start_from: tuple[Checkpoints, int] | None = None
) -> OpenTask:
    """Find the last checkpoint and start the feed there. *Collective.* Raises DataError, CheckpointError.

    ``start_from``: another training's checkpoint to go on from, by its step, in place of the task's own last one.
    """
    prepared = TokenisedSet.open(task.train)
    num_rows = prepared.num_rows if task.without is None else int(task.without.rows_outside.sum())
    steps_per_epoch = math.ceil(num_rows / task.training.batch_size)
    total = total_steps(task.training, steps_per_epoch)
    own = Checkpoints(task.checkpoints, identity=task.key)
    source, start = start_from or (own, own.latest_step() or 0)
    feed = build_feed(
        prepared.path,
        ({"logits": task.logits} if task.logits else {}) | {path: path for path in task.side_tables},
        seed=task.seed,
        batch_size=task.training.batch_size,
        window=task.training.window,
        rank=context.rank,
        world=context.world_size,
        start_step=start,
        stop_step=total,
        without=task.without,
    )
    return OpenTask(task, prepared, own, source, start, steps_per_epoch, total, feed)


def run_task(
    task: TrainTask,
    context: WorkerContext,
    *,
    build_feed: BuildFeed,
    build_objective: BuildObjective = build_objective,
    listeners: Sequence[Listener] = (),
) -> None:
    """Train one model, from its last checkpoint if there is one; does nothing when it is done. *Collective.*

    Raises TrainingError at a non-finite figure, DataError, ModelError and CheckpointError for what it is given.
    """
    if not task.is_done():
        opened = open_task(task, context, build_feed)
        run_open_task(opened, context, build_objective=build_objective, listeners=listeners)


def run_open_task(
    opened: OpenTask,
    context: WorkerContext,
    *,
    build_objective: BuildObjective = build_objective,
    listeners: Sequence[Listener] = (),
    near_end: Callable[[], None] = lambda: None,
    outside: ControlRequests | None = None,
) -> None:
    """The same for a task that is open; ``near_end`` is called once, on every worker at the same step. *Collective.*

    Raises StopRequested when ``outside`` asks for it.
    """
    parts = task_in_parts(
        opened, context, build_objective=build_objective, listeners=listeners, near_end=near_end, outside=outside
    )
    for _ in parts:
        pass


def task_in_parts(
    opened: OpenTask,
    context: WorkerContext,
    *,
    build_objective: BuildObjective = build_objective,
    listeners: Sequence[Listener] = (),
    near_end: Callable[[], None] = lambda: None,
    outside: ControlRequests | None = None,
    keep_model: bool = True,
    keep_checkpoints: bool = False,
) -> Iterator[Trainer]:
    """The same, handed over before the first step and after each evaluation: the iterator may be closed there. *Collective.*

    ``keep_model`` says whether the best weights are saved, or its figures are all that is wanted; ``keep_checkpoints`` that
    another training may still go on from them.
    """
    if context.is_first:
        opened.task.begin()
    with opened.feed as feed:
        rows = _calling(feed, near_end, at=max(opened.start, opened.total - LEAD_STEPS))
        trainer = Trainer(
            opened,
            context,
            listeners,
            outside or ControlRequests(),
            build_objective=build_objective,
            keep_model=keep_model,
        )
        yield trainer
        for _ in trainer.parts(rows, total=opened.total, steps_per_epoch=opened.steps_per_epoch, start=opened.start):
            yield trainer
    context.barrier()
    if context.is_first:
        if keep_model:
            verify_trained_model(opened.task.model_folder, base=opened.task.model, rows=opened.prepared)
        opened.task.mark_done()
        if not keep_checkpoints:
            opened.checkpoints.clear()


def _calling(rows: Iterator[StepRows], call: Callable[[], None], *, at: int) -> Iterator[StepRows]:
    for item in rows:
        if item.step == at:
            call()
        yield item


def total_steps(training: TrainingConfig, steps_per_epoch: int) -> int:
    """Optimiser steps of a task."""
    steps = training.epochs * steps_per_epoch
    return steps if training.max_steps is None else min(steps, training.max_steps)
