"""The search space for Optuna and Ray Tune, and the values of a trial as a function of its number and of ended trials."""

import hashlib

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState, create_trial

from raykd.config.search_space import Choice, Grid, Hyperparameter, LogUniform, QUniform, Uniform, Value
from raykd.config.tune import TuneConfig
from raykd.tune.trial_record import TrialRecord

optuna.logging.set_verbosity(optuna.logging.ERROR)


class TrialSampler:
    """Draws a trial's values from its number and from the trials that have ended.

    Every draw has its own seed, made of the search's seed and the trial's number: a resumed search draws what it would have
    drawn, and never repeats the draws of its start.
    """

    def __init__(self, config: TuneConfig) -> None:
        self._config = config
        self._grid_points = config.grid_points
        self._drawn = {path: distribution(one) for path, one in config.space.items() if path not in self._grid_points[0]}
        self._study = optuna.create_study(direction="maximize" if config.mode == "max" else "minimize")
        self._asked: dict[int, optuna.trial.Trial] = {}

    def values(self, index: int) -> dict[str, Value]:
        """The values of a trial."""
        listed = self._grid_points[index % len(self._grid_points)]
        if not self._drawn:
            return dict(listed)
        seed = _seed(self._config.seed, index)
        random = self._config.searcher != "optuna"
        self._study.sampler = (
            optuna.samplers.RandomSampler(seed=seed) if random else optuna.samplers.TPESampler(seed=seed, constant_liar=True)
        )
        self._asked[index] = self._study.ask(fixed_distributions=self._drawn)
        return {**listed, **self._asked[index].params}

    def tell(self, record: TrialRecord) -> None:
        """Learn from a trial that has ended; failed trials are left out.

        The metric of a stopped trial is of fewer steps: TPE ranks it behind all trials that finished.
        """
        asked = self._asked.pop(record.index, None)
        if asked is None:  # it was drawn by an earlier run of this search
            if _has_metric(record):
                self._study.add_trial(frozen(record, self._drawn))
        elif not _has_metric(record):
            self._study.tell(asked, state=TrialState.FAIL)
        elif record.status == "stopped":
            for step, value in record.curve:
                asked.report(value, step)
            self._study.tell(asked, state=TrialState.PRUNED)
        else:
            self._study.tell(asked, record.value)


def _has_metric(record: TrialRecord) -> bool:
    return record.curve != () if record.status == "stopped" else record.value is not None and record.status != "failed"


def frozen(record: TrialRecord, distributions: dict[str, BaseDistribution]) -> optuna.trial.FrozenTrial:
    """A trial in Optuna's form."""
    values = {path: record.values[path] for path in distributions}
    if record.status == "stopped":
        return create_trial(
            state=TrialState.PRUNED, params=values, distributions=distributions, intermediate_values=dict(record.curve)
        )
    return create_trial(state=TrialState.COMPLETE, params=values, distributions=distributions, value=record.value)


def distribution(searched: Hyperparameter) -> BaseDistribution:
    """The distribution in Optuna's form."""
    match searched:
        case Uniform():
            return FloatDistribution(searched.low, searched.high)
        case LogUniform():
            return FloatDistribution(searched.low, searched.high, log=True)
        case QUniform():
            if searched.whole:
                return IntDistribution(int(searched.low), int(searched.high), step=int(searched.step))
            return FloatDistribution(searched.low, searched.high, step=searched.step)
        case Choice() | Grid():
            return CategoricalDistribution(searched.values)


def _seed(seed: int, index: int) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=4).digest(), "big")
