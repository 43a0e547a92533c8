"""One training task's parts, built from the configuration and put together around the loop."""

import functools
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from raykd.data import storage
from raykd.data.batch import Batch, micro_batches
from raykd.data.step_stream import Feed, StepRows
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import TrainingError
from raykd.models import load_classifier, load_tokenizer, max_sequence_length, restore_classifier, save_classifier
from raykd.run.build_objective import BuildObjective, ObjectiveContext
from raykd.run.task import TrainTask
from raykd.task_kinds import task_kind
from raykd.tracking import NullTracker, Tracker, listener, open_tracker
from raykd.trainers.checkpoint import Checkpoints
from raykd.trainers.composite import save_modules, split_state, with_modules
from raykd.trainers.context import WorkerContext
from raykd.trainers.engines.base import Engine, Precision
from raykd.trainers.engines.build_engine import build_engine
from raykd.trainers.evaluation import Evaluator, Metrics
from raykd.trainers.event_log import EventLog, Listener
from raykd.trainers.events import Ended, Resumed, Started, Stopped
from raykd.trainers.loop import Loop, StopRequested
from raykd.trainers.model_selection import ModelSelection
from raykd.trainers.phases import at_progress
from raykd.trainers.schedule import learning_rate


@dataclass(frozen=True)
class ControlRequests:
    """What is asked of a running task from outside. The first worker's answers count, at every step: both are quick."""

    checkpoint: Callable[[], bool] = lambda: False
    """Whether to write a checkpoint now; true once for each reason."""
    stop: Callable[[], bool] = lambda: False
    """Whether to write a checkpoint and stop."""


@dataclass(frozen=True)
class OpenTask:
    """A task whose rows are on their way."""

    task: TrainTask
    prepared: TokenisedSet
    checkpoints: Checkpoints
    source: Checkpoints
    """Where the checkpoint it continues from lies: with its own, unless it goes on from what another training made."""
    start: int
    """Step of the checkpoint it continues from; 0 begins."""
    steps_per_epoch: int
    total: int
    feed: Feed


class Trainer:
    """One task's parts, put together around the loop."""

    def __init__(
        self,
        opened: OpenTask,
        context: WorkerContext,
        listeners: Sequence[Listener],
        outside: ControlRequests,
        *,
        build_objective: BuildObjective,
        keep_model: bool = True,
    ) -> None:
        task = opened.task
        self.outside, self.keep_model = outside, keep_model
        self.task, self.context, self.prepared = task, context, opened.prepared
        self.checkpoints, self.source = opened.checkpoints, opened.source
        self.position: dict[str, Any] = {}
        """What its checkpoints keep for whoever runs it."""
        self.kind = task_kind(task.task_kind)
        self.tokenizer = load_tokenizer(task.model)
        torch.manual_seed(task.seed)  # a new classifier head is drawn from the task's seed
        self.model = load_classifier(
            task.model, labels=task.labels, dropout=task.training.dropout, problem_type=self.kind.problem_type
        )
        self.tracker = _tracker(task) if context.is_first else NullTracker()
        self.events = EventLog(task.history, (*listeners, listener(self.tracker))) if context.is_first else EventLog()
        self.max_length = max_sequence_length(self.model.config)
        self.precision = resolve_precision(task.precision, context.device)
        about = ObjectiveContext(self.model, opened.prepared, context, self.precision, self.events.record)
        self.objective = build_objective(task, about)
        self.engine = build_engine(
            task.engine,
            with_modules(self.model, self.objective.trainable),
            weight_decay=task.training.weight_decay,
            precision=self.precision,
            device=context.device,
        )
        self.teacher_forwards = 0  # on this worker, since this start
        if (frozen := self.objective.frozen) is not None:
            frozen.register_forward_hook(self._count_forward)
        self.model_selection = self._model_selection()
        self.saved_at = time.monotonic()

    def parts(self, rows: Iterator[StepRows], *, total: int, steps_per_epoch: int, start: int) -> Iterator[int]:
        """Resume, train, keep the best weights; the step after each evaluation. Closed early, it frees what it holds."""
        try:
            every = self.task.training.evaluate_every or steps_per_epoch
            loop, step = self.begin(total=total, every=every, start=start), start
            while step < total and not self.model_selection.exhausted:
                step = loop.run(islice(rows, min(total, (step // every + 1) * every) - step))
                yield step
            self.end(step)
        except StopRequested:
            self.events.record(Stopped(step=self.engine.updates))
            raise
        except TrainingError:
            self.events.flush()  # the steps before show how it came to that
            raise
        finally:
            self.engine.close()

    def begin(self, *, total: int, every: int, start: int) -> Loop:
        """The loop, where the last checkpoint left it."""
        if start:
            self.resume(start)
        self.events.record(
            Started(
                step=start,
                pid=os.getpid(),
                host=socket.gethostname(),
                engine=self.engine.kind,
                model=type(self.engine.model).__name__,
                precision=self.precision,
                world_size=self.context.world_size,
            )
        )
        training, phases = self.task.training, self.task.phases
        peaks = ((0.0, training.learning_rate), *((phase.start, phase.learning_rate) for phase in phases))
        whole = training.micro_batch_size is None and self.context.world_size == 1
        self.objective.check(num_labels=len(self.task.labels), whole_batch=whole)
        return Loop(
            engine=self.engine,
            objective=self.objective,
            context=self.context,
            split=self.split,
            learning_rate=lambda step: learning_rate(
                step,
                total_steps=total,
                warmup=training.warmup_ratio,
                peak=at_progress(peaks, step / total),
                shape=training.schedule,
            ),
            total_steps=total,
            seed=self.task.seed,
            max_grad_norm=training.max_grad_norm,
            evaluate=self.evaluator(),
            evaluate_at=lambda step: step % every == 0,
            model_selection=self.model_selection,
            keep_best=self.keep_best,
            save_checkpoint=self.save_checkpoint,
            checkpoint_due=self.checkpoint_due,
            events=self.events,
            log_every=training.log_every,
            stop_due=lambda: self.context.is_first and self.outside.stop(),
        )

    def resume(self, start: int) -> None:
        """Go on from the checkpoint of a step."""
        kept = self.source.load(self.engine, start)["model_selection"]
        if self.context.is_first:
            restore_classifier(self.task.model_folder)
        self.context.barrier()
        # where the best model is lost, any is better
        if not self.keep_model or storage.exists(storage.join(self.task.model_folder, "config.json")):
            self.model_selection.load(kept)
        self.events.resume(start)
        self.events.record(Resumed(step=start, source=None if self.source == self.checkpoints else self.source.folder))

    def end(self, step: int) -> None:
        """Note what came out."""
        ran = int(self.context.sum(torch.tensor(self.teacher_forwards, device=self.context.device)))
        self.events.record(
            Ended(
                step=step,
                best=self.model_selection.best,
                best_step=self.model_selection.best_step,
                teacher_forwards=None if self.objective.frozen is None else ran,
            )
        )
        self.events.flush()
        best = {} if self.model_selection.best is None else {f"best/{self.model_selection.metric}": self.model_selection.best}
        self.tracker.finish({**best, "best/step": float(self.model_selection.best_step)})

    def _count_forward(self, *_: object) -> None:
        self.teacher_forwards += 1

    def split(self, rows: StepRows) -> list[Batch]:
        """Micro-batches of one step on the worker."""
        return micro_batches(
            rows,
            world=self.context.world_size,
            micro_batch_size=self.task.training.micro_batch_size,
            pad_token_id=self.prepared.pad_token_id,
            padding_side=self.prepared.padding_side,
            with_token_types=self.prepared.has_token_types,
            max_length=self.max_length,
        )

    def evaluator(self) -> Callable[[Engine], dict[str, float]] | None:
        """Scores the validation rows, if there are any, and keeps the model where every one is to be kept."""
        if self.task.validation is None:
            return None
        metrics: Metrics = functools.partial(self.kind.measure, names=self.task.labels, positive_label=self.task.positive_label)
        score = Evaluator(TokenisedSet.open(self.task.validation), self.context, metrics, max_length=self.max_length)

        def score_and_keep(engine: Engine) -> dict[str, float]:
            self.save(engine, storage.join(self.task.folder, "evaluated", f"step-{engine.updates}"))
            return score(engine)

        return score_and_keep if self.task.training.keep_evaluated else score

    def _model_selection(self) -> ModelSelection:
        metric = self.task.training.metric or self.kind.headline.name
        smaller = self.kind.smaller_is_better(metric)
        return ModelSelection(metric, smaller_is_better=smaller, patience=self.task.training.patience)

    def keep_best(self, engine: Engine) -> None:
        """Save the current weights as the task's model. *Collective.*"""
        if self.keep_model:
            self.save(engine, self.task.model_folder)

    def save(self, engine: Engine, folder: str) -> None:
        """Save the current weights as a model folder. *Collective.*"""
        named = ((name, state.weight) for name, state in engine.state(moments=False) if state is not None)
        weights, beside = split_state(named, self.objective.trainable)
        if self.context.is_first:
            save_modules(self.task.folder, beside)
            save_classifier(self.model, self.tokenizer, folder, state=weights)

    def checkpoint_due(self, step: int) -> bool:
        """Whether steps, seconds or someone outside ask for a checkpoint; only the first worker's clock and ears count."""
        training = self.task.training
        by_step = training.checkpoint_steps is not None and step % training.checkpoint_steps == 0
        by_time = self.context.is_first and time.monotonic() - self.saved_at >= training.checkpoint_seconds
        asked = self.context.is_first and self.outside.checkpoint()
        return by_step or by_time or asked

    def save_checkpoint(self, step: int) -> None:
        """Write everything a later attempt needs. *Collective.*"""
        self.checkpoints.save(self.engine, step, {**self.position, "model_selection": self.model_selection.state()})
        self.saved_at = time.monotonic()


def _tracker(task: TrainTask) -> Tracker:
    """The task's one writer of figures; a restarted task goes on in the same run."""
    return open_tracker(
        task.tracking.kind,
        project=task.tracking.project,
        run_name=task.name,
        group=task.group or None,
        run_id=task.key,
        config=task.model_dump(mode="json"),
        folder=storage.join(task.folder, "tracking"),
    )


def resolve_precision(precision: str, device: torch.device) -> Precision:
    """What ``auto`` means on a device: bf16 where a GPU has it, else fp32 (CPUs are slower in bf16)."""
    if precision == "auto":
        return "bf16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "fp32"
    return "bf16" if precision == "bf16" else "fp32"
