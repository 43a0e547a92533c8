"""A training task on a worker: opened at its last checkpoint, trained to its end, marked as done."""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from raykd.data import storage
from raykd.data.batch import micro_batch_rows
from raykd.data.planned_reader import ReadRequest
from raykd.data.side_tables import SideTable
from raykd.data.step_stream import Feed, StepRows
from raykd.data.tokenised_set import TokenisedSet
from raykd.models import (
    checkpoint_activations,
    load_classifier,
    load_tokenizer,
    runs_unpadded,
    set_attention,
    share_token_types,
    takes_token_types,
    verify_trained_model,
)
from raykd.run.build_objective import BuildObjective, ObjectiveContext, build_objective
from raykd.run.task import TrainTask
from raykd.task_kinds import task_kind
from raykd.tracking import NullTracker, Tracker, listener, open_tracker
from raykd.trainers.arithmetic import padding_rule, set_arithmetic, set_threads
from raykd.trainers.auxiliary import with_modules
from raykd.trainers.checkpoint import Checkpoints
from raykd.trainers.checkpointer import Checkpointer
from raykd.trainers.context import WorkerContext
from raykd.trainers.control import ControlRequests
from raykd.trainers.cpu_threads import threads_restored
from raykd.trainers.engines.build_engine import build_engine
from raykd.trainers.evaluation import Evaluator
from raykd.trainers.event_log import EventLog, Listener
from raykd.trainers.model_selection import ModelSelection
from raykd.trainers.model_writer import ModelWriter
from raykd.trainers.objective import Objective, check_columns
from raykd.trainers.precision import resolve_precision
from raykd.trainers.schedule import Schedule
from raykd.trainers.step_batches import StepBatches
from raykd.trainers.trainer import Trainer

BuildFeed = Callable[[ReadRequest], Feed]

LEAD_STEPS = 200
"""Steps before a task's end at which the next task's rows are requested: about what Ray Data takes to deliver the first."""
ASK_STEPS = 50
"""Steps between two requests for the next task, which may be decided late."""

_NO_REQUESTS = ControlRequests()


@dataclass(frozen=True)
class OpenTask:
    """A task whose first rows are being read."""

    task: TrainTask
    prepared: TokenisedSet
    side_tables: tuple[SideTable, ...]
    checkpoints: Checkpoints
    source: Checkpoints
    """Checkpoints it resumes from: its own, or those of another training."""
    start: int
    """Step of the checkpoint it resumes from; 0 begins."""
    steps_per_epoch: int
    total_steps: int
    feed: Feed


def open_task(
    task: TrainTask, context: WorkerContext, build_feed: BuildFeed, *, start_from: tuple[Checkpoints, int] | None = None
) -> OpenTask:
    """Find the last checkpoint and start the feed there. *Collective.* Raises DataError, CheckpointError.

    ``start_from``: another training's checkpoint to resume from, by its step, in place of the task's own last one.
    """
    prepared = TokenisedSet.open(task.train)
    side_tables = (*([task.logits] if task.logits else []), *task.side_tables)
    num_rows = prepared.num_rows if task.without is None else int(task.without.rows_outside.sum())
    steps_per_epoch = math.ceil(num_rows / task.training.batch_size)
    total = task.training.num_steps(num_rows)
    own = Checkpoints(task.checkpoints, identity=task.key, context=context)
    source, start = start_from or (own, own.latest_step() or 0)
    request = ReadRequest(
        prepared.path,
        side_tables,
        seed=task.seed,
        batch_size=task.training.batch_size,
        window=task.training.window,
        rank=context.rank,
        world=context.world_size,
        start_step=start,
        stop_step=total,
        without=task.without,
        unlabelled_fraction=task.unlabelled_fraction,
    )
    opened = tuple(SideTable.open(path) for path in side_tables)
    return OpenTask(task, prepared, opened, own, source, start, steps_per_epoch, total, build_feed(request))


def run_task(
    task: TrainTask,
    context: WorkerContext,
    *,
    build_feed: BuildFeed,
    build_objective: BuildObjective = build_objective,
    listeners: Sequence[Listener] = (),
) -> None:
    """Train one model, from its last checkpoint if there is one; does nothing when it is done. *Collective.*

    Raises TrainingError at a non-finite loss or gradient, DataError, ModelError and CheckpointError for wrong inputs.
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
    control: ControlRequests = _NO_REQUESTS,
) -> None:
    """Train a task that is open; ``near_end`` is called near the end, on every worker at the same steps. *Collective.*

    Raises StopRequested when ``control`` asks for it.
    """
    evaluations = train_by_evaluation(
        opened, context, build_objective=build_objective, listeners=listeners, near_end=near_end, control=control
    )
    for _ in evaluations:
        pass


def train_by_evaluation(
    opened: OpenTask,
    context: WorkerContext,
    *,
    build_objective: BuildObjective = build_objective,
    listeners: Sequence[Listener] = (),
    near_end: Callable[[], None] = lambda: None,
    control: ControlRequests = _NO_REQUESTS,
    keep_model: bool = True,
    keep_checkpoints: bool = False,
) -> Iterator[Trainer]:
    """Train a task that is open; yield the trainer before the first step and after each evaluation. *Collective.*

    The iterator may be closed there. ``keep_model`` saves the best weights, where metrics are not all that is wanted;
    ``keep_checkpoints`` leaves the checkpoints for another training to resume from.
    """
    task = opened.task
    if context.is_first:
        task.begin()
    with opened.feed as feed, threads_restored():
        rows = _call_from_step(feed, near_end, start=max(opened.start, opened.total_steps - LEAD_STEPS))
        tracker = _open_tracker(task) if context.is_first else NullTracker()
        events = EventLog(task.history, (*listeners, listener(tracker))) if context.is_first else EventLog()
        trainer = build_trainer(opened, context, build_objective, events, control=control, keep_model=keep_model)
        yield trainer
        for _ in trainer.run(rows, start=opened.start):
            yield trainer
    tracker.finish(trainer.model_selection.summary)
    context.barrier()
    if context.is_first:
        if keep_model:
            verify_trained_model(task.model_folder, base=task.model, rows=opened.prepared)
        task.mark_done()
        if not keep_checkpoints:
            opened.checkpoints.clear()


def build_trainer(
    opened: OpenTask,
    context: WorkerContext,
    build_objective: BuildObjective,
    events: EventLog,
    *,
    control: ControlRequests = _NO_REQUESTS,
    keep_model: bool = True,
) -> Trainer:
    """Build the trainer of a task; the only reader of its configuration. *Collective.*"""
    task, training, prepared = opened.task, opened.task.training, opened.prepared
    model, micro = _initial_model(task), training.micro_batch_size
    min_rows, max_rows = micro_batch_rows(training.batch_size, world=context.world_size, micro_batch_size=micro)
    set_arithmetic(model, context, tf32=task.tf32, compiled=task.compile, min_rows=min_rows)
    precision = context.on_first(lambda: resolve_precision(task.precision, context.device))  # of all, also on mixed machines
    objective = build_objective(task, ObjectiveContext(model, prepared, context, precision, events.record))
    columns = {*prepared.column_names, *(name for table in opened.side_tables for name in table.columns)}
    check_columns(objective, columns)
    cpus = set_threads(model, prepared, context, max_rows=max_rows, teacher=objective.frozen, threads=task.threads)
    objective.check(num_labels=len(task.labels), whole_batch=micro is None and context.world_size == 1)
    batches = _step_batches(opened, context, model, objective)
    return Trainer(
        engine=build_engine(
            task.engine,
            with_modules(model, objective.trainable),
            weight_decay=training.weight_decay,
            precision=precision,
            device=context.device,
        ),
        objective=objective,
        context=context,
        batches=batches,
        schedule=_schedule(opened),
        model_selection=_model_selection(task),
        evaluator=_evaluator(task, context, model),
        writer=_writer(task, context, model, objective, keep_model=keep_model),
        checkpointer=_checkpointer(opened, context, control),
        control=control,
        events=events,
        seed=task.seed,
        max_grad_norm=training.max_grad_norm,
        precision=precision,
        cpus=cpus,
        log_every=training.log_every,
    )


def _step_batches(opened: OpenTask, context: WorkerContext, model: Any, objective: Objective) -> StepBatches:
    """The batches of model and frozen teacher; where one alone takes token types, the other ignores them from here on."""
    prepared = opened.prepared
    models = [one for one in (model, objective.frozen) if one is not None]
    return StepBatches(
        world_size=context.world_size,
        pad_token_id=prepared.pad_token_id,
        with_token_types=prepared.has_token_types and share_token_types(models),
        padding_side=prepared.padding_side,
        micro_batch_size=opened.task.training.micro_batch_size,
        padding=padding_rule(models, context, compiled=opened.task.compile),
        unpadded=all(map(runs_unpadded, models)),
        columns={*prepared.column_names, *objective.side_columns},
    )


def _initial_model(task: TrainTask) -> Any:
    """The classifier before its first step; a new head is drawn from the task's seed."""
    torch.manual_seed(task.seed)
    kind = task_kind(task.task_kind)
    model = load_classifier(task.model, labels=task.labels, dropout=task.training.dropout, kind=kind)
    set_attention(model, unpadded=task.unpadded, name=task.model)
    if task.training.gradient_checkpointing:
        checkpoint_activations(model, name=task.model)
    return model


def _writer(task: TrainTask, context: WorkerContext, model: Any, objective: Objective, *, keep_model: bool) -> ModelWriter:
    return ModelWriter(
        model=model,
        tokenizer=load_tokenizer(task.model),
        context=context,
        folder=task.folder,
        model_folder=task.model_folder,
        auxiliary=tuple(objective.trainable),
        keep_best=keep_model,
        keep_evaluated=task.training.keep_evaluated,
    )


def _checkpointer(opened: OpenTask, context: WorkerContext, control: ControlRequests) -> Checkpointer:
    return Checkpointer(
        checkpoints=opened.checkpoints,
        source=opened.source,
        context=context,
        control=control,
        every_steps=opened.task.training.checkpoint_steps,
        every_seconds=opened.task.training.checkpoint_seconds,
    )


def _schedule(opened: OpenTask) -> Schedule:
    training, phases = opened.task.training, opened.task.phases
    return Schedule(
        total_steps=opened.total_steps,
        evaluate_every=training.evaluate_every or opened.steps_per_epoch,
        peaks=((0.0, training.learning_rate), *((phase.start, phase.learning_rate) for phase in phases)),
        warmup_ratio=training.warmup_ratio,
        shape=training.schedule,
    )


def _evaluator(task: TrainTask, context: WorkerContext, model: Any) -> Evaluator | None:
    if task.validation is None:
        return None
    validation = TokenisedSet.open(task.validation)
    return Evaluator(
        validation,
        context,
        functools.partial(task_kind(task.task_kind).measure, names=task.labels, positive_label=task.positive_label),
        padding=padding_rule([model], context),
        with_token_types=takes_token_types(model) and validation.has_token_types,
        unpadded=runs_unpadded(model),
    )


def _model_selection(task: TrainTask) -> ModelSelection:
    kind = task_kind(task.task_kind)
    metric = task.training.metric or kind.headline.name
    return ModelSelection(metric, smaller_is_better=kind.smaller_is_better(metric), patience=task.training.patience)


def _open_tracker(task: TrainTask) -> Tracker:
    """Open the task's one writer of metrics; a restarted task continues the same run."""
    return open_tracker(
        task.tracking.kind,
        project=task.tracking.project,
        run_name=task.name,
        group=task.group or None,
        run_id=task.key,
        config=task.model_dump(mode="json"),
        folder=storage.join(task.folder, "tracking"),
    )


def _call_from_step(rows: Iterator[StepRows], call: Callable[[], None], *, start: int) -> Iterator[StepRows]:
    for item in rows:
        if item.step >= start and (item.step - start) % ASK_STEPS == 0:
            call()
        yield item
