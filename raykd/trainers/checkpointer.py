"""Decides when a training writes checkpoints, and what they hold besides the engine's state."""

import time
from dataclasses import dataclass, field
from typing import Any

from raykd.trainers.background_write import BackgroundWrite
from raykd.trainers.checkpoint import Checkpoints
from raykd.trainers.context import WorkerContext
from raykd.trainers.control import ControlRequests
from raykd.trainers.engines.engine import Engine
from raykd.trainers.events import CheckpointSaved
from raykd.trainers.model_selection import ModelSelection


@dataclass
class Checkpointer:
    """Checkpoints of one training."""

    checkpoints: Checkpoints
    """Checkpoints that are written."""
    source: Checkpoints
    """Checkpoints that training resumes from: the same folder, or that of another training."""
    context: WorkerContext
    control: ControlRequests
    every_steps: int | None
    """Optimiser steps between checkpoints; None spaces them by time alone."""
    every_seconds: float
    """Seconds after which a checkpoint is written at the next step."""
    extra: dict[str, Any] = field(default_factory=dict)
    """JSON values that every checkpoint keeps for the owner of the training."""
    _saved_at: float = field(default_factory=time.monotonic)
    _write: BackgroundWrite | None = None
    """The last write of the first worker, until its end is reported."""
    _waited_s: float = 0.0
    _begun: tuple[int, float] | None = None
    """Step and pause of the checkpoint that is being written."""

    @property
    def foreign_source(self) -> str | None:
        """Folder of the other training that this one resumes from."""
        return None if self.source == self.checkpoints else self.source.folder

    def due(self, step: int) -> bool:
        """True when this worker asks for a checkpoint after ``step`` steps; if any worker does, all write it.

        Only the first worker's clock and control requests count.
        """
        by_step = self.every_steps is not None and step % self.every_steps == 0
        by_time = self.context.is_first and time.monotonic() - self._saved_at >= self.every_seconds
        requested = self.context.is_first and self.control.checkpoint()
        return by_step or by_time or requested

    def begin(self, engine: Engine, step: int, selection: ModelSelection) -> None:
        """Copy everything that a later attempt needs, and write it beside training. *Collective.* :meth:`wait` comes before."""
        begun = time.monotonic()
        position = {**self.extra, "model_selection": selection.state()}
        write = self.checkpoints.snapshot(engine, step, position)
        self._begun = step, self._waited_s + time.monotonic() - begun
        self._waited_s = 0.0
        if self.context.is_first:
            self._write = BackgroundWrite(write)
        self._saved_at = time.monotonic()

    def completed(self) -> CheckpointSaved | None:
        """The event of a checkpoint whose write has just ended, without waiting; its error is left for :meth:`wait`."""
        if self._write is None or not self._write.ended or self._write.failed:
            return None
        return self._event()

    def wait(self) -> CheckpointSaved | None:
        """Wait for the checkpoint that is being written; its event on the first worker, once. *Collective.*

        Raises ResourceError, on all workers, when it could not be written.
        """
        if self._begun is None:
            return None
        begun = time.monotonic()
        self.context.on_first(self._wait)
        self._waited_s = time.monotonic() - begun
        return self._event()

    def close(self) -> None:
        """Wait for the write of a training that fails, whatever becomes of it; for one worker."""
        if self._write is not None:
            self._write.join()

    def _wait(self) -> None:
        if self._write is not None:
            self._write.wait()

    def _event(self) -> CheckpointSaved | None:
        if self._write is None or self._begun is None:
            return None
        (step, pause), seconds = self._begun, self._write.seconds
        self._write = None
        return CheckpointSaved(step=step, pause_s=round(pause, 4), write_s=round(seconds, 4))

    def load(self, engine: Engine, step: int) -> dict[str, Any]:
        """Set the engine to the checkpoint of ``step``; return the state of the model selection. *Collective.*"""
        state: dict[str, Any] = self.source.load(engine, step)["model_selection"]
        return state
