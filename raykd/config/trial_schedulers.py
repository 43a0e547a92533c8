"""Schedulers: the rules by which a search stops trials early or changes their values while they train."""

from typing import Annotated, Literal

from pydantic import Field

from raykd.config.section import Section


class NoScheduler(Section):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


class Asha(Section):
    """Asynchronous successive halving: at each rung the worst trials stop; Li et al. 2020, arXiv:1810.05934."""

    kind: Literal["asha"] = "asha"
    grace_steps: int = Field(100, ge=1)
    """Optimiser steps of every trial before the first rung."""
    reduction: float = Field(3.0, gt=1)
    """Reduction factor: one in this many trials continues after a rung, and the next rung is this many times higher."""


class Median(Section):
    """A trial stops when its best is worse than the median of the others' averages at that step; Golovin et al. 2017."""

    kind: Literal["median"] = "median"
    grace_steps: int = Field(100, ge=1)
    """Optimiser steps of every trial before it can be stopped."""
    min_trials: int = Field(3, ge=1)
    """Number of other trials that must have reached the same step before a trial can be stopped."""


class Population(Section):
    """Population-based training: at intervals the worst trials continue from the best trials' weights with perturbed values.

    Jaderberg et al. 2017, arXiv:1711.09846. Learning rate, temperature and alpha of a distillation can change during training.
    """

    kind: Literal["pbt"] = "pbt"
    interval_steps: int = Field(100, ge=1)
    """Optimiser steps between perturbations; evaluations must be at least as frequent."""
    quantile: float = Field(0.25, gt=0, le=0.5)
    """Fraction of the trials that counts as best, and as worst."""
    resample: float = Field(0.25, ge=0, le=1)
    """Probability that a value is drawn anew instead of perturbed."""


Scheduler = Annotated[NoScheduler | Asha | Median | Population, Field(discriminator="kind")]
