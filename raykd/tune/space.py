"""What a search space is to Optuna and to Ray Tune, and the values of a trial as a function of its number and what is known."""

import hashlib
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from raykd.config.search_space import Choice, Grid, Hyperparameter, LogUniform, QUniform, Uniform, Value
from raykd.config.tune import TuneConfig
from raykd.tune.trial_record import TrialRecord

optuna.logging.set_verbosity(optuna.logging.ERROR)


class Suggester:
    """Draws a trial's values from its number and from the trials that have ended.

    Every draw has its own seed, made of the search's seed and the trial's number: a search that is continued draws what it
    would have drawn, and never draws again what it drew at its start.
    """

    def __init__(self, config: TuneConfig) -> None:
        self._config = config
        self._cells = config.grid_points
        self._drawn = {path: distribution(knob) for path, knob in config.space.items() if path not in self._cells[0]}
        self._study = optuna.create_study(direction="maximize" if config.mode == "max" else "minimize")
        self._asked: dict[int, optuna.trial.Trial] = {}

    def values(self, index: int) -> dict[str, Value]:
        """The knobs of a trial."""
        cell = self._cells[index % len(self._cells)]
        if not self._drawn:
            return dict(cell)
        seed = _seed(self._config.seed, index)
        random = self._config.searcher != "optuna"
        self._study.sampler = (
            optuna.samplers.RandomSampler(seed=seed) if random else optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        )
        self._asked[index] = self._study.ask(fixed_distributions=self._drawn)
        return {**cell, **self._asked[index].params}

    def tell(self, record: TrialRecord) -> None:
        """Learn from a trial that has ended; one that failed has nothing to teach.

        The figure of one that was stopped is of fewer steps: TPE ranks it behind all that finished.
        """
        asked = self._asked.pop(record.index, None)
        if asked is None:  # it was drawn by an earlier run of this search
            if _teaches(record):
                self._study.add_trial(frozen(record, self._drawn))
        elif not _teaches(record):
            self._study.tell(asked, state=TrialState.FAIL)
        elif record.status == "stopped":
            for step, value in record.curve:
                asked.report(value, step)
            self._study.tell(asked, state=TrialState.PRUNED)
        else:
            self._study.tell(asked, record.value)


def _teaches(record: TrialRecord) -> bool:
    return record.curve != () if record.status == "stopped" else record.value is not None and record.status != "failed"


def frozen(record: TrialRecord, distributions: dict[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    """A trial as Optuna keeps it."""
    values = {path: record.values[path] for path in distributions}
    if record.status == "stopped":
        return create_trial(
            state=TrialState.PRUNED, params=values, distributions=distributions, intermediate_values=dict(record.curve)
        )
    return create_trial(state=TrialState.COMPLETE, params=values, distributions=distributions, value=record.value)


def distribution(knob: Hyperparameter) -> BaseDistribution:
    """A knob as Optuna draws it."""
    match knob:
        case Uniform():
            return FloatDistribution(knob.low, knob.high)
        case LogUniform():
            return FloatDistribution(knob.low, knob.high, log=True)
        case QUniform():
            if knob.whole:
                return IntDistribution(int(knob.low), int(knob.high), step=int(knob.step))
            return FloatDistribution(knob.low, knob.high, step=knob.step)
        case Choice() | Grid():
            return CategoricalDistribution(knob.values)


def mutation(knob: Hyperparameter) -> Any:
    """A knob as population-based training draws it anew."""
    from ray import tune

    match knob:
        case Uniform():
            return tune.uniform(knob.low, knob.high)
        case LogUniform():
            return tune.loguniform(knob.low, knob.high)
        case QUniform():
            return [knob.low + knob.step * number for number in range(round((knob.high - knob.low) / knob.step) + 1)]
        case Choice() | Grid():
            return list(knob.values)


def _seed(seed: int, index: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=4).digest(), "big")
