"""Decides when a training writes checkpoints, and what they hold besides the engine's state."""

import time
from dataclasses import dataclass, field
from typing import Any

from raykd.trainers.checkpoint import Checkpoints
from raykd.trainers.context import WorkerContext
from raykd.trainers.control import ControlRequests
from raykd.trainers.engines.engine import Engine
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

    def save(self, engine: Engine, step: int, selection: ModelSelection) -> None:
        """Write everything that a later attempt needs. *Collective.*"""
        position = {**self.extra, "model_selection": selection.state()}
        self.checkpoints.save(engine, step, position)
        self._saved_at = time.monotonic()

    def load(self, engine: Engine, step: int) -> dict[str, Any]:
        """Set the engine to the checkpoint of ``step``; return the state of the model selection. *Collective.*"""
        state: dict[str, Any] = self.source.load(engine, step)["model_selection"]
        return state
