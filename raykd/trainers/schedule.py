"""The learning rate as a pure function of the step, so that a resumed run needs nothing but its step."""

import math
from typing import Literal

Shape = Literal["linear", "cosine", "constant"]


def learning_rate(step: int, *, total_steps: int, warmup: float, peak: float, shape: Shape) -> float:
    """Rate of the update that follows ``step`` updates, of ``total_steps`` in all.

    It rises in a line over the first ``warmup`` (a fraction) of the steps, has its ``peak`` at the step after them, and falls
    to zero at ``total_steps``, in a line or a half cosine, or stays level. The decay is that of transformers'
    ``get_*_schedule_with_warmup``; the rise is one step ahead of it, since an update with rate 0 is wasted.

    Raises ValueError when ``step`` is not one of the run's, ``warmup`` not in [0, 1), or ``shape`` unknown.
    """
    if not 0 <= step < total_steps:
        raise ValueError(f"step {step} is not one of the run's: 0 to {total_steps - 1}")
    if not 0 <= warmup < 1:
        raise ValueError(f"warmup = {warmup}: give a fraction of the steps, at least 0 and below 1")
    rising = min(round(warmup * total_steps), total_steps - 1)
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
