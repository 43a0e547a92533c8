"""Ray Tune's schedulers, with optimiser steps as time; they are given the reports of a search's earlier runs again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from raykd.config.search_space import Choice, Grid, Hyperparameter, LogUniform, QUniform, Uniform
from raykd.config.trial_schedulers import Asha, Median, NoScheduler, Population
from raykd.config.tune import TuneConfig
from raykd.tune.trial_record import TrialRecord

STEP = "step"
"""Unit of time of a scheduler: optimiser steps, whatever machine they ran on."""


def build_scheduler(config: TuneConfig, *, total_steps: int) -> Any:
    """The scheduler of a search whose trials have ``total_steps`` optimiser steps."""
    from ray.tune.schedulers import ASHAScheduler, FIFOScheduler, MedianStoppingRule

    settings: dict[str, Any] = {"time_attr": STEP, "metric": "value", "mode": config.mode}
    match config.scheduler:
        case NoScheduler():
            return FIFOScheduler()
        case Asha(grace_steps=grace, reduction=reduction):
            grace = min(grace, total_steps)
            return ASHAScheduler(**settings, max_t=total_steps + 1, grace_period=grace, reduction_factor=reduction)
        case Median(grace_steps=grace, min_trials=least):
            return MedianStoppingRule(**settings, grace_period=grace, min_samples_required=least)
        case Population(interval_steps=interval, quantile=quantile, resample=resample):
            from ray.tune.schedulers import PopulationBasedTraining

            return PopulationBasedTraining(
                **{**settings, "metric": "current"},
                perturbation_interval=interval,
                quantile_fraction=quantile,
                resample_probability=resample,
                hyperparam_mutations={"values": {path: _mutation(one) for path, one in config.space.items()}},
                custom_explore_fn=lambda trial: _bounded(config, trial),
                log_config=False,
            )


@dataclass(frozen=True)
class _PastTrial:
    """A trial of an earlier run, with what a scheduler reads of it."""

    trial_id: str


class _NoController:
    """Ray Tune's controller, with what a scheduler asks before there is one."""

    def get_live_trials(self) -> list[Any]:
        """None yet."""
        return []


def replay(scheduler: Any, records: Sequence[TrialRecord]) -> None:
    """Report trials that have ended to a scheduler, which restores its rungs and medians."""
    controller = _NoController()
    for record in records:
        trial, result = _PastTrial(f"past-{record.index}"), None
        scheduler.on_trial_add(controller, trial)
        for step, value in record.curve:
            result = {STEP: step, "value": value, "current": value}
            if scheduler.on_trial_result(controller, trial, result) == scheduler.STOP:
                break
        if result is not None:
            scheduler.on_trial_complete(controller, trial, result)


def _bounded(config: TuneConfig, trial: dict[str, Any]) -> dict[str, Any]:
    values = {path: config.space[path].clip(value) for path, value in trial["values"].items()}
    return {**trial, "values": values}


def _mutation(searched: Hyperparameter) -> Any:
    """The distribution in the form of Ray Tune's population-based training."""
    from ray import tune

    match searched:
        case Uniform():
            return tune.uniform(searched.low, searched.high)
        case LogUniform():
            return tune.loguniform(searched.low, searched.high)
        case QUniform():
            return [
                searched.low + searched.step * number
                for number in range(round((searched.high - searched.low) / searched.step) + 1)
            ]
        case Choice() | Grid():
            return list(searched.values)
