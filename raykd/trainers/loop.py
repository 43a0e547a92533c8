"""The one training loop: teacher, meta-teacher and student differ only in their objective."""

import hashlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from raykd.data.batch import Batch
from raykd.data.step_stream import StepRows
from raykd.errors import TrainingError
from raykd.losses.reduce import weighted_sum
from raykd.trainers.context import WorkerContext
from raykd.trainers.engines.base import Engine
from raykd.trainers.event_log import EventLog
from raykd.trainers.events import CheckpointSaved, Evaluated, GradientShares, StepMetrics
from raykd.trainers.gradient_norms import SHARE_EVERY, LogitsTap
from raykd.trainers.model_selection import ModelSelection
from raykd.trainers.objective import Objective

WISHES = ("checkpoint_wanted", "stop_wanted")
"""What workers ask for; their sums travel with the step's figures, so that all agree."""


class StopRequested(Exception):  # noqa: N818 - it is no error
    """Training ended before its last step because it was asked to; a checkpoint is written."""


@dataclass
class Loop:
    """Owns the schedule, the non-finite check, evaluation and checkpoints; the engine owns backward, step and state.

    A step reads the device once: the sums of the loss terms, the gradient norm and the workers' wishes travel together.
    """

    engine: Engine
    objective: Objective
    context: WorkerContext
    split: Callable[[StepRows], list[Batch]]
    """This worker's micro-batches of a step, the same number on every worker."""
    learning_rate: Callable[[int], float]
    """Learning rate of the update that follows after ``step`` updates."""
    total_steps: int
    seed: int
    """With step and rank the key of dropout's randomness, so that a resumed run draws what it would have drawn."""
    max_grad_norm: float
    evaluate: Callable[[Engine], dict[str, float]] | None
    """Metrics on the validation rows; none keeps the last weights."""
    evaluate_at: Callable[[int], bool]
    """Whether an evaluation is due after ``step`` updates."""
    model_selection: ModelSelection
    keep_best: Callable[[Engine], None]
    """Save the current weights as the task's model. Collective."""
    save_checkpoint: Callable[[int], None]
    """Write a checkpoint after ``step`` updates. Collective."""
    checkpoint_due: Callable[[int], bool]
    """Whether this worker wants one; if any does, all write it."""
    events: EventLog
    log_every: int = 10
    """Steps between records of the loss; the first step of a run has one too."""
    stop_due: Callable[[], bool] = lambda: False
    """Whether this worker is asked to stop; if any is, all write a checkpoint and stop."""
    _seconds: dict[str, float] = field(default_factory=lambda: {"wait": 0.0, "work": 0.0})
    _rows: int = 0

    def run(self, feed: Iterator[StepRows]) -> int:
        """Train on all steps of ``feed``; returns the step it stopped after.

        Raises TrainingError at a non-finite figure, StopRequested when it was asked to stop.
        """
        self.engine.module.train()
        step, before = 0, time.perf_counter()
        for rows in feed:
            fetched = time.perf_counter()
            checkpoint, stop = self._step(rows)
            step = rows.step + 1
            after = time.perf_counter()
            self._seconds["wait"] += fetched - before
            self._seconds["work"] += after - fetched
            self._rows += rows.num_rows
            if self._evaluation_ends(step):
                break
            if (checkpoint or stop) and step < self.total_steps:
                self.save_checkpoint(step)
                self.events.record(CheckpointSaved(step=step))
                self.events.flush()
                if stop:
                    raise StopRequested(f"after step {step}")
            before = time.perf_counter()
        return step

    def _step(self, rows: StepRows) -> tuple[bool, bool]:
        """One optimiser step; returns whether a checkpoint is wanted after it, and whether to stop there."""
        seed_device(self.engine.device, step_seed(self.seed, rows.step, self.context.rank))
        terms, pulls = self._accumulate(rows, self.objective.at(rows.step / max(self.total_steps - 1, 1)))
        norm = self.engine.reduce_gradients()
        figures, shares = self._read(rows, terms, pulls, norm)
        rate = self.learning_rate(rows.step)
        self.engine.step(rate, max_grad_norm=self.max_grad_norm)
        self._log(rows, figures, rate)
        if shares:
            self.events.record(GradientShares(step=rows.step + 1, shares=shares))
        return figures["checkpoint_wanted"] > 0, figures["stop_wanted"] > 0

    def _accumulate(self, rows: StepRows, objective: Objective) -> tuple[dict[str, Tensor], list[Tensor]]:
        """Forward and backward of every micro-batch.

        The sum of each loss term over this worker's rows, and now and then how hard each term pulls at the logits of the
        first micro-batch, both on the device.
        """
        batches = self.split(rows)
        scale = self.context.world_size / max(rows.num_rows, 1)  # the engine averages over the workers
        sums: dict[str, Tensor] = {}
        pulls: list[Tensor] = []
        for number, waiting in enumerate(batches, start=1):
            batch = waiting.to(self.engine.device, non_blocking=True)
            tap = LogitsTap(self.engine.model) if number == 1 and rows.step % SHARE_EVERY == 0 else None
            with self.engine.autocast():
                output = objective(tap or self.engine.model, batch)
            if tap is not None:
                pulls = tap.pulls([weighted_sum(term, batch.valid) for term in output.terms.values()])
            loss = weighted_sum(output.per_row, batch.valid)
            self.engine.accumulate(loss * scale, boundary=number == len(batches))
            for name, term in output.terms.items():
                total = weighted_sum(term.detach(), batch.valid)
                sums[name] = sums[name] + total if name in sums else total
        return sums, pulls

    def _read(
        self, rows: StepRows, terms: dict[str, Tensor], pulls: list[Tensor], norm: Tensor
    ) -> tuple[dict[str, float], dict[str, float]]:
        """The step's one device-to-host read: term means over the global batch, norm, shares, wish for a checkpoint."""
        wishes = torch.tensor([float(self.checkpoint_due(rows.step + 1)), float(self.stop_due())], device=self.engine.device)
        mine = torch.stack([*terms.values(), *wishes, *pulls])
        local = mine.clone() if self.context.world_size > 1 else mine
        values = torch.cat([self.context.sum(mine), norm.reshape(1)]).tolist()
        names = [*terms, *WISHES, "grad_norm"]
        pulled = values[len(terms) + len(WISHES) : -1]
        figures = dict(zip(names, [*values[: len(terms) + len(WISHES)], values[-1]], strict=True))
        if not all(math.isfinite(value) for value in values):
            self._stop(rows.step, list(terms), local, figures)
        for name in terms:
            figures[name] /= max(rows.num_rows, 1)
        return figures, {name: pull / (sum(pulled) or 1.0) for name, pull in zip(terms, pulled, strict=False)}

    def _stop(self, step: int, terms: list[str], local: Tensor, figures: dict[str, float]) -> None:
        """Name step, rank and term of what is not finite. Reads the devices of all workers, which only happens once."""
        bad = [
            f"{term} = {value} on rank {rank}"
            for rank, values in enumerate(self.context.gather(local.tolist()))
            for term, value in zip(terms, values, strict=False)
            if not math.isfinite(value)
        ] or [f"gradient norm = {figures['grad_norm']} under a finite loss"]
        raise TrainingError(
            f"step {step + 1}: {'; '.join(bad)}. Training stopped before the update; lower training.learning_rate, "
            "raise training.warmup_ratio, or look for broken logits or weights in the input"
        )

    def _log(self, rows: StepRows, figures: dict[str, float], rate: float) -> None:
        step = rows.step + 1
        if self._rows and step % self.log_every and step != self.total_steps:
            return
        seconds = sum(self._seconds.values())
        terms = {name: value for name, value in figures.items() if name not in (*WISHES, "grad_norm")}
        self.events.record(
            StepMetrics(
                step=step,
                epoch=rows.epoch,
                total_steps=self.total_steps,
                terms=terms,
                loss=sum(terms.values()),
                learning_rate=rate,
                grad_norm=figures["grad_norm"],
                rows_per_second=self._rows / seconds if seconds else 0.0,
                data_wait_s=self._seconds["wait"],
            )
        )

    def _evaluation_ends(self, step: int) -> bool:
        """Evaluate if it is due; true when patience has run out."""
        last = step == self.total_steps
        if self.evaluate is None:
            if last:
                self.keep_best(self.engine)
            return False
        if not (last or self.evaluate_at(step)):
            return False
        metrics = self.evaluate(self.engine)
        better = self.model_selection.update(step, metrics)
        if better:
            self.keep_best(self.engine)
        self.events.record(Evaluated(step=step, metrics=metrics, best=better))
        self.events.flush()
        return self.model_selection.exhausted


def seed_device(device: torch.device, seed: int) -> None:
    """Seed what dropout draws from. `torch.manual_seed` does more, for 0.9 ms a step on a CPU."""
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.manual_seed(seed)


def step_seed(seed: int, step: int, rank: int) -> int:
    """A 63-bit key for one worker's randomness in one step."""
    digest = hashlib.blake2b(f"{seed}/{step}/{rank}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1
