"""Learning rate and evaluation steps as pure functions of the step, so that a resumed run needs nothing but its step."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

Shape = Literal["linear", "cosine", "constant"]
T = TypeVar("T")


def at_progress(phases: Sequence[tuple[float, T]], progress: float) -> T:
    """Value at a fraction of the steps. ``phases``: the fraction from which each value holds, ascending from 0."""
    return next(value for start, value in reversed(phases) if start <= progress)


@dataclass(frozen=True)
class Schedule:
    """Length of a training, its learning rates and its evaluation steps."""

    total_steps: int
    """Optimiser steps."""
    evaluate_every: int
    """Optimiser steps between evaluations; the last step has one too."""
    peaks: tuple[tuple[float, float], ...]
    """Peak learning rates, each with the fraction of the steps from which it holds; ascending from 0."""
    warmup_ratio: float = 0.0
    """Fraction of the steps over which the learning rate rises."""
    shape: Shape = "linear"
    """Decay after the warm-up."""

    def learning_rate(self, step: int) -> float:
        """Rate of the update that follows ``step`` updates."""
        peak = at_progress(self.peaks, step / self.total_steps)
        return learning_rate(step, total_steps=self.total_steps, warmup_ratio=self.warmup_ratio, peak=peak, shape=self.shape)

    def progress(self, step: int) -> float:
        """Fraction of the training at the update that follows ``step`` updates: 0 for the first, 1 for the last."""
        return step / max(self.total_steps - 1, 1)

    def evaluates(self, step: int) -> bool:
        """True when an evaluation is due after ``step`` updates."""
        return step % self.evaluate_every == 0 or self.is_last(step)

    def is_last(self, step: int) -> bool:
        """True when training is complete after ``step`` updates."""
        return step == self.total_steps


def learning_rate(step: int, *, total_steps: int, warmup_ratio: float, peak: float, shape: Shape) -> float:
    """Rate of the update that follows ``step`` updates, of ``total_steps`` in all.

    It rises linearly over the first ``warmup_ratio`` of the steps, has its ``peak`` at the step after them, and falls to zero
    at ``total_steps``, linearly or as a half cosine, or stays constant. The decay is that of transformers'
    ``get_*_schedule_with_warmup``; the rise is one step ahead of it, since an update with rate 0 is wasted.

    Raises ValueError when ``step`` is not one of the run's, ``warmup_ratio`` not in [0, 1), or ``shape`` unknown.
    """
    if not 0 <= step < total_steps:
        raise ValueError(f"step {step} is not one of the run's: 0 to {total_steps - 1}")
    if not 0 <= warmup_ratio < 1:
        raise ValueError(f"warmup_ratio = {warmup_ratio}: give a fraction of the steps, at least 0 and below 1")
    rising = min(round(warmup_ratio * total_steps), total_steps - 1)
    if step < rising:
        return peak * (step + 1) / (rising + 1)
    progress = (step - rising) / (total_steps - rising)
    if shape == "linear":
        return peak * (1 - progress)
    if shape == "cosine":
        return peak * (1 + math.cos(math.pi * progress)) / 2
    if shape == "constant":
        return peak
    raise ValueError(f"shape = {shape!r}: use linear, cosine or constant")
