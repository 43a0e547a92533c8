"""The one trainer: teacher, meta-teacher and student training differ only in their objective."""

import math
import os
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from raykd.config.training import Precision
from raykd.data.batch import copied_to
from raykd.data.step_stream import StepRows
from raykd.errors import TrainingError
from raykd.losses.reduce import valid_sum
from raykd.trainers.checkpointer import Checkpointer
from raykd.trainers.context import WorkerContext
from raykd.trainers.control import ControlRequests, StopRequested
from raykd.trainers.engines.engine import Engine
from raykd.trainers.evaluation import Evaluator
from raykd.trainers.event_log import EventLog
from raykd.trainers.events import (
    CheckpointSaved,
    Ended,
    Evaluated,
    GradientShares,
    Resumed,
    Started,
    StepMetrics,
    Stopped,
)
from raykd.trainers.gradient_norms import MEASURE_EVERY, GradientNormProbe
from raykd.trainers.model_selection import ModelSelection
from raykd.trainers.model_writer import ModelWriter
from raykd.trainers.non_finite import find_non_finite
from raykd.trainers.objective import Objective
from raykd.trainers.schedule import Schedule
from raykd.trainers.step_batches import StepBatches
from raykd.trainers.step_seed import seed_device, step_seed
from raykd.trainers.throughput import Throughput


@dataclass(frozen=True)
class StepReading:
    """Values of one optimiser step, over all workers, in one device-to-host read."""

    terms: dict[str, float]
    """Mean of each loss term over the global batch."""
    grad_norm: float
    shares: dict[str, float]
    """Share of each term in the per-term gradient norms; empty where they were not measured."""
    checkpoint: bool
    """A worker asks for a checkpoint."""
    stop: bool
    """A worker asks to stop."""


@dataclass
class Trainer:
    """Owns the order of steps, evaluations and checkpoints, and the finite check; each collaborator does one thing.

    The engine owns backward, gradient averaging, the update and its state. A step reads the device once: the sums of the loss
    terms, the gradient norm and the workers' signals (checkpoint, stop) travel together.
    """

    engine: Engine
    objective: Objective
    context: WorkerContext
    batches: StepBatches
    schedule: Schedule
    model_selection: ModelSelection
    evaluator: Evaluator | None
    """None keeps the last weights."""
    writer: ModelWriter
    checkpointer: Checkpointer
    control: ControlRequests
    events: EventLog
    seed: int
    """With step and rank the key of dropout's randomness, so that a resumed training draws the same."""
    max_grad_norm: float
    precision: Precision = "fp32"
    """For the record; the engine applies it."""
    cpus: int = 1
    """CPUs of each worker, for the record."""
    log_every: int = 10
    """Steps between records of the loss; the first step of a start has one too."""
    teacher_forwards: int = 0
    """Forward passes of the objective's frozen model on this worker since this start."""
    step: int = 0
    """Optimiser steps done."""
    _throughput: Throughput = field(default_factory=Throughput)

    def __post_init__(self) -> None:
        if (frozen := self.objective.frozen) is not None:
            frozen.register_forward_hook(self._count_teacher_forward)

    def _count_teacher_forward(self, *_: object) -> None:
        self.teacher_forwards += 1

    def run(self, feed: Iterator[StepRows], *, start: int = 0) -> Iterator[int]:
        """Resume at ``start``, train on the steps of ``feed``; yield the step after each evaluation. *Collective.*

        The iterator may be closed early; the engine is released in any case. Raises TrainingError at a non-finite loss or
        gradient, StopRequested when asked to stop.
        """
        try:
            self._start(start)
            if not self.model_selection.exhausted:
                yield from self._train(feed)
            self._finish_checkpoint()
            self._end()
        except StopRequested:
            self.events.record(Stopped(step=self.step))
            raise
        except TrainingError:
            self.events.flush()  # the steps before show how it came to that
            raise
        finally:
            self.checkpointer.close()
            self.engine.close()

    def save_checkpoint(self) -> None:
        """Write a checkpoint of the current step, and wait for it. *Collective.*"""
        self._begin_checkpoint()
        self._finish_checkpoint()

    def _begin_checkpoint(self) -> None:
        """Begin a checkpoint of the current step, once the one before is written. *Collective.*"""
        self._finish_checkpoint()  # with the history: an attempt that resumes there has it up to there
        self.checkpointer.begin(self.engine, self.step, self.model_selection)

    def _finish_checkpoint(self) -> None:
        """Wait for the checkpoint that is being written, and write the history. *Collective.*"""
        self._note(self.checkpointer.wait())
        self._flush()

    def _note(self, saved: CheckpointSaved | None) -> None:
        if saved is not None:
            self.events.record(saved)

    def _flush(self) -> None:
        """Write the history. *Collective*, so that no worker waits for a first one that could not write."""
        self.context.on_first(self.events.flush)

    def _start(self, start: int) -> None:
        self.step = start
        if start:
            selection = self.checkpointer.load(self.engine, start)
            if self.writer.recover():  # where the best model is lost, the next one is the best
                self.model_selection.load(selection)
            self.events.resume(start)
            self.events.record(Resumed(step=start, source=self.checkpointer.foreign_source))
        self.events.record(
            Started(
                step=start,
                pid=os.getpid(),
                host=socket.gethostname(),
                engine=self.engine.kind,
                model=type(self.engine.model).__name__,
                precision=self.precision,
                world_size=self.context.world_size,
                threads=torch.get_num_threads(),
                cpus=self.cpus,
            )
        )

    def _end(self) -> None:
        forwards = int(self.context.sum(torch.tensor(self.teacher_forwards, device=self.context.device)))
        self.events.record(
            Ended(
                step=self.step,
                best=self.model_selection.best,
                best_step=self.model_selection.best_step,
                teacher_forwards=None if self.objective.frozen is None else forwards,
            )
        )
        self._flush()

    def _train(self, feed: Iterator[StepRows]) -> Iterator[int]:
        """Take all steps; evaluate and save checkpoints where they are due, in that order."""
        self.engine.module.train()
        self._throughput.wait()
        for rows in feed:
            self._throughput.work()
            reading = self._take_step(rows)
            self._throughput.done(rows.num_rows)
            self.step = rows.step + 1
            self._note(self.checkpointer.completed())
            evaluates = self.schedule.evaluates(self.step)
            if evaluates:
                self._evaluate()
            if self.model_selection.exhausted:
                yield self.step
                return
            if (reading.checkpoint or reading.stop) and not self.schedule.is_last(self.step):
                self._begin_checkpoint()
                if reading.stop:
                    self._finish_checkpoint()
                    raise StopRequested(f"after step {self.step}")
            if evaluates:
                yield self.step
            self._throughput.wait()

    def _take_step(self, rows: StepRows) -> StepReading:
        """Take one optimiser step."""
        seed_device(self.engine.device, step_seed(self.seed, rows.step, self.context.rank))
        terms, term_norms = self._accumulate(rows, self.objective.at(self.schedule.progress(rows.step)))
        reading = self._read(rows, terms, term_norms, self.engine.reduce_gradients())
        rate = self.schedule.learning_rate(rows.step)
        self.engine.step(rate, max_grad_norm=self.max_grad_norm)
        self._log(rows, reading, rate)
        return reading

    def _accumulate(self, rows: StepRows, objective: Objective) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Forward and backward of every micro-batch.

        Returns the sum of each loss term over this worker's rows and, at every ``MEASURE_EVERY``-th step, the gradient norm of
        each term at the logits of the first micro-batch, all on the device.
        """
        batches = self.batches(rows)
        scale = self.context.world_size / max(rows.num_rows, 1)  # the engine averages over the workers
        sums: dict[str, Tensor] = {}
        norms: list[Tensor] = []
        for number, batch_on_host in enumerate(batches, start=1):
            batch = batch_on_host.to(self.engine.device)
            probe = self._probe() if number == 1 and rows.step % MEASURE_EVERY == 0 else None
            with self.engine.autocast():
                output = objective(probe or self.engine.model, batch)
            if probe is not None:
                norms = probe.term_norms({name: valid_sum(term, batch.valid) for name, term in output.terms.items()})
            loss = valid_sum(output.per_row, batch.valid)
            self.engine.accumulate(loss * scale, boundary=number == len(batches))
            for name, term in output.terms.items():
                total = valid_sum(term.detach(), batch.valid)
                sums[name] = sums[name] + total if name in sums else total
        return sums, norms

    def _probe(self) -> GradientNormProbe:
        return GradientNormProbe(self.engine.model, inside=not self.engine.shards_parameters)

    def _read(self, rows: StepRows, terms: dict[str, Tensor], term_norms: list[Tensor], grad_norm: Tensor) -> StepReading:
        """Sum over the workers and read the device once. Raises TrainingError before the update where training must stop."""
        signals = torch.tensor(
            [float(self.checkpointer.due(rows.step + 1)), float(self.context.is_first and self.control.stop())]
        )
        local = torch.cat([torch.stack([*terms.values(), *term_norms]), copied_to(signals, self.engine.device)])
        summed = self.context.sum(local.clone()) if self.context.world_size > 1 else local
        *values, checkpoint, stop, norm = read_device(torch.cat([summed, grad_norm.reshape(1)]))
        sums = dict(zip(terms, values[: len(terms)], strict=True))
        norms = dict(zip(terms, values[len(terms) :], strict=False))
        if not all(map(math.isfinite, [*values, norm])):
            self._report_non_finite(rows.step + 1, local, sums, norms, norm)
            norms = {}
        return StepReading(
            terms={name: value / max(rows.num_rows, 1) for name, value in sums.items()},
            grad_norm=norm,
            shares={name: value / (sum(norms.values()) or 1.0) for name, value in norms.items()},
            checkpoint=checkpoint > 0,
            stop=stop > 0,
        )

    def _report_non_finite(
        self, step: int, local: Tensor, sums: dict[str, float], norms: dict[str, float], grad_norm: float
    ) -> None:
        """Record what is not finite, by worker and term; raise TrainingError unless it is only a diagnostic. *Collective.*"""
        by_rank = self.context.gather(local.tolist())
        found = find_non_finite(step, sums, norms, grad_norm, by_rank)
        for event in found:
            self.events.record(event)
        if any(event.stops for event in found):
            raise TrainingError(
                f"step {step}: {'; '.join(map(str, found))}. Training stopped before the update; lower training.learning_rate, "
                "raise training.warmup_ratio, or look for broken logits or weights in the input"
            )

    def _log(self, rows: StepRows, reading: StepReading, rate: float) -> None:
        step = rows.step + 1
        if not self._throughput.rows or step % self.log_every == 0 or self.schedule.is_last(step):
            self.events.record(
                StepMetrics(
                    step=step,
                    epoch=rows.epoch,
                    total_steps=self.schedule.total_steps,
                    terms=reading.terms,
                    loss=sum(reading.terms.values()),
                    learning_rate=rate,
                    grad_norm=reading.grad_norm,
                    rows_per_second=self._throughput.rows_per_second,
                    data_wait_s=self._throughput.wait_seconds,
                )
            )
        if reading.shares:
            self.events.record(GradientShares(step=step, shares=reading.shares))

    def _evaluate(self) -> None:
        """Score the validation set and keep the weights if they are the best; without one keep the last. *Collective.*"""
        if self.evaluator is None:
            if self.schedule.is_last(self.step):
                self.writer.save_best(self.engine)
            return
        self.writer.save_evaluated(self.engine)
        metrics = self.evaluator(self.engine)
        best = self.model_selection.update(self.step, metrics)
        if best:
            self.writer.save_best(self.engine)
        self.events.record(Evaluated(step=self.step, metrics=metrics, best=best))
        self._flush()


def read_device(values: Tensor) -> list[float]:
    """Read ``values`` into the host's memory, which waits for the device: the only such wait of a step."""
    found: list[float] = values.tolist()
    return found
