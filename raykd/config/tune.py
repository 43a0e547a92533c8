"""A search: a job of ``kind: tune``, which tries values of another job's configuration."""

import functools
import itertools
import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from raykd.config.base import Section
from raykd.config.experiment import ExperimentConfig
from raykd.config.metakd import MetaKDConfig

BaseConfig = ExperimentConfig | MetaKDConfig
MOVABLE = ("student.training.learning_rate", "student.objective.temperature", "student.objective.alpha")
"""What population-based training may move while a model trains."""
Value = bool | int | float | str | None
"""What a knob can be set to."""
_INSIDE = 0.6180339887
"""A place between the bounds that is no round number: where a whole number is wanted, this one is refused."""


class _Range(Section):
    low: float
    """Smallest value."""
    high: float
    """Largest value."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not self.low < self.high:
            raise ValueError(f"low = {self.low:g} and high = {self.high:g}: low lies below high")
        return self


class Uniform(_Range):
    """Any number between two bounds, all equally likely."""

    kind: Literal["uniform"] = "uniform"

    def probes(self) -> tuple[Value, ...]:
        """Values that show whether the configuration allows them all."""
        return self.low, self.high, self.low + _INSIDE * (self.high - self.low)


class LogUniform(_Range):
    """Any number between two bounds above 0, all orders of magnitude equally likely."""

    kind: Literal["loguniform"] = "loguniform"

    @model_validator(mode="after")
    def _check_sign(self) -> Self:
        if self.low <= 0:
            raise ValueError(f"low = {self.low:g}: a loguniform lies above 0; use uniform")
        return self

    def probes(self) -> tuple[Value, ...]:
        """Values that show whether the configuration allows them all."""
        return self.low, self.high, math.exp(math.log(self.low) + _INSIDE * math.log(self.high / self.low))


class QUniform(_Range):
    """`low`, `low + step`, ... up to `high`, all equally likely; whole numbers where all three are."""

    kind: Literal["quniform"] = "quniform"
    step: float = Field(gt=0)
    """Distance between neighbouring values; divides `high - low`."""

    @model_validator(mode="after")
    def _check_step(self) -> Self:
        steps = (self.high - self.low) / self.step
        if abs(steps - round(steps)) > 1e-6:
            raise ValueError(
                f"step = {self.step:g} does not divide {self.low:g} to {self.high:g}; "
                f"the nearest high that fits is {self.low + self.step * max(1, round(steps)):g}"
            )
        return self

    @property
    def whole(self) -> bool:
        """Whether its values are whole numbers."""
        return all(number == int(number) for number in (self.low, self.high, self.step))

    def probes(self) -> tuple[Value, ...]:
        """Values that show whether the configuration allows them all."""
        numbers = (self.low, self.high, self.low + self.step)
        return tuple(map(int, numbers)) if self.whole else numbers


class _Listed(Section):
    values: tuple[Value, ...] = Field(min_length=1)
    """The values."""

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        if len({repr(value) for value in self.values}) < len(self.values):
            raise ValueError(f"values = {list(self.values)}: one stands there twice")
        return self

    def probes(self) -> tuple[Value, ...]:
        """All of them."""
        return self.values


class Choice(_Listed):
    """One of several values, all equally likely."""

    kind: Literal["choice"] = "choice"


class Grid(_Listed):
    """All of several values, with all of every other grid."""

    kind: Literal["grid"] = "grid"


Knob = Annotated[Uniform | LogUniform | QUniform | Choice | Grid, Field(discriminator="kind")]


class NoScheduler(Section):
    """Every trial runs to its end."""

    kind: Literal["none"] = "none"


class Asha(Section):
    """Asynchronous successive halving: at each rung the worst trials stop; Li et al. 2020, arXiv:1810.05934."""

    kind: Literal["asha"] = "asha"
    grace_steps: int = Field(100, ge=1)
    """Optimiser steps that every trial gets: the first rung."""
    reduction: float = Field(3.0, gt=1)
    """One in so many trials goes on after a rung, and the next rung is so many times higher."""


class Median(Section):
    """A trial stops when its best is worse than the median of the others' averages at that step; Golovin et al. 2017."""

    kind: Literal["median"] = "median"
    grace_steps: int = Field(100, ge=1)
    """Optimiser steps that every trial gets."""
    min_trials: int = Field(3, ge=1)
    """Other trials that must have come as far before one is stopped."""


class Population(Section):
    """Population-based training: now and then the worst trials go on from the best ones' weights with their knobs perturbed.

    Jaderberg et al. 2017, arXiv:1711.09846. Learning rate, temperature and alpha of a distillation can move while it trains.
    """

    kind: Literal["pbt"] = "pbt"
    interval_steps: int = Field(100, ge=1)
    """Optimiser steps between perturbations; evaluations must come at least as often."""
    quantile: float = Field(0.25, gt=0, le=0.5)
    """Share of the trials that counts as best, and as worst."""
    resample: float = Field(0.25, ge=0, le=1)
    """Probability that a knob is drawn anew and not perturbed."""


Scheduler = Annotated[NoScheduler | Asha | Median | Population, Field(discriminator="kind")]


class TuneConfig(Section):
    """A search over values of another job's configuration, from trials to a retrained and saved winner."""

    kind: Literal["tune"] = "tune"
    name: str
    """Name of the search; its folder is `name` in the base's storage."""
    base: BaseConfig
    """The job that is searched; in a file also the path of a job file, relative to this one."""
    space: dict[str, Knob]
    """What is tried, by the path of the value in the base; left out, what that kind of job is usually searched for."""
    searcher: Literal["optuna", "random", "grid"] = "optuna"
    """optuna: TPE, learns from trials that ended; random: independent draws; grid: every combination of listed values."""
    scheduler: Scheduler = NoScheduler()
    """Which trials are stopped early, by the metric on the validation rows."""
    trials: int = Field(24, ge=1)
    """Trials; a grid has as many as it has combinations, at most this."""
    concurrency: int | None = Field(None, ge=1)
    """Concurrent trials; null is as many as the CPUs allow."""
    retries: int = Field(1, ge=0)
    """Times a failed trial is tried again."""
    max_steps: int | None = Field(None, ge=1)
    """Maximum optimiser steps of each student's training in a trial; null gives trials the base's full budget. A teacher that a
    trial trains always has its full budget."""
    seed: int = Field(1, ge=0)
    """Seed of the searcher."""
    final_seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default_factory=lambda given: default_final_seeds(given["base"]), min_length=1
    )
    """Seeds that the winner, the base's own values and the student without distillation are trained with at the end.
    The seed of the trials (the first of the base's `student.seeds`) is refused; left out, the first five others from 1."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(f"name = {self.name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit")
        if len(set(self.final_seeds)) < len(self.final_seeds):
            raise ValueError(f"final_seeds = {list(self.final_seeds)}: give each seed once")
        if self.trial_seed in self.final_seeds:
            others = default_final_seeds(self.base, len(self.final_seeds))
            raise ValueError(
                f"final_seeds = {list(self.final_seeds)} has the seed of the trials, {self.trial_seed} (the first of "
                "base.student.seeds): the best trial was chosen for its result with that seed, which must not count again; "
                f"give others, such as {list(others)}"
            )
        self._check_base()
        self._check_searcher()
        self._check_scheduler()
        return self

    def _check_base(self) -> None:
        if isinstance(self.base, MetaKDConfig):
            return
        if self.base.student.objective.kind == "fine_tune":
            raise ValueError("base: student.objective.kind = 'fine_tune' distils nothing; search a job that distils")
        if self.base.data.label is None or not self.base.data.test:
            raise ValueError("base: a search needs labels (data.label) and rows that it never sees (data.test) for its verdict")

    def _check_searcher(self) -> None:
        if not self.space:
            raise ValueError("space is empty; name a value to search, or leave space out for what is usual")
        grids = {path: knob for path, knob in self.space.items() if isinstance(knob, Grid)}
        if self.searcher == "optuna" and grids:
            raise ValueError(f"searcher = 'optuna' cannot learn from the grid of {next(iter(grids))}; make it kind: choice")
        if self.searcher == "grid":
            for path, knob in self.space.items():
                if not isinstance(knob, Grid | Choice):
                    raise ValueError(f"searcher = 'grid' needs listed values, but {path} is {knob.kind}; make it kind: grid")
        if len(self.cells) > self.trials:
            sizes = " x ".join(str(len(knob.values)) for knob in self._listed.values())
            raise ValueError(
                f"the grid has {len(self.cells)} combinations ({sizes}), trials = {self.trials}; "
                "raise trials, or list fewer values"
            )

    def _check_scheduler(self) -> None:
        kind = self.scheduler.kind
        if kind != "none" and isinstance(self.base, MetaKDConfig):
            raise ValueError(f"scheduler = {kind!r}: a Meta-KD trial has no figure before its end; set scheduler.kind to none")
        if isinstance(self.scheduler, Population):
            self._check_population(self.scheduler)

    def _check_population(self, population: Population) -> None:
        for path in self.space:
            if path not in MOVABLE:
                raise ValueError(f"scheduler = 'pbt' cannot move {path} while a model trains; it moves {', '.join(MOVABLE)}")
        if self.searcher == "optuna":
            raise ValueError(
                "searcher = 'optuna' with scheduler = 'pbt': a population is drawn at once, so no trial can be learnt from "
                "before the next is drawn; set searcher to random"
            )
        if self.planned < 2:
            raise ValueError("scheduler = 'pbt' needs trials to take over from each other; raise trials to at least 2")
        if self.base.compute.max_workers > 1:
            raise ValueError("scheduler = 'pbt' needs trials that train in their own actor; set base.compute.num_workers to 1")
        assert isinstance(self.base, ExperimentConfig)  # a Meta-KD base was refused before
        every = self.base.student.training.evaluate_every
        if every is None or every > population.interval_steps:
            raise ValueError(
                f"scheduler.interval_steps = {population.interval_steps} with student.training.evaluate_every = {every}: "
                "trials are compared at evaluations, so evaluate at least once an interval"
            )

    @property
    def _listed(self) -> dict[str, Grid | Choice]:
        """The knobs whose combinations are gone through."""
        kinds = Grid | Choice if self.searcher == "grid" else Grid
        return {path: knob for path, knob in self.space.items() if isinstance(knob, kinds)}

    @property
    def cells(self) -> list[dict[str, Value]]:
        """Every combination of listed values; one empty one without a grid."""
        listed = self._listed
        return [
            dict(zip(listed, values, strict=True)) for values in itertools.product(*(knob.values for knob in listed.values()))
        ]

    @property
    def planned(self) -> int:
        """Trials of the search."""
        return len(self.cells) if self.searcher == "grid" else self.trials

    @property
    def metric(self) -> str:
        """The metric on the validation rows that trials are compared by; larger is better, except `loss` and `ece`."""
        if isinstance(self.base, MetaKDConfig):
            student = self.base.student
            return (student.intermediate if student.mode == "single" else student.prediction).training.metric
        metric = self.base.student.training.metric
        return "exact_match" if self.base.data.multi_label and metric == "accuracy" else metric

    @property
    def trial_seed(self) -> int:
        """Seed that every trial trains with."""
        return self.base.student.seeds[0]

    @property
    def baseline_knobs(self) -> tuple[str, ...]:
        """Those that change the training of the student without distillation too, which is then tuned as well."""
        return tuple(path for path in self.space if _trains_baseline(self.base, path))

    @property
    def mode(self) -> Literal["min", "max"]:
        """Which way the metric is better."""
        return "min" if self.metric in ("loss", "ece") else "max"

    @property
    def teacher_knobs(self) -> tuple[str, ...]:
        """Those that are the teacher's: it is trained again for each of their values."""
        return tuple(path for path in self.space if path.startswith("teacher."))

    @property
    def most_teachers(self) -> int:
        """Teachers that the trials train at most, beside the one with the job's own values."""
        if not self.teacher_knobs:
            return 0
        knobs = [self.space[path] for path in self.teacher_knobs]
        own = [functools.reduce(lambda part, key: part[key], path.split("."), self._base_values) for path in self.teacher_knobs]
        listed = all(_has(knob, value) for knob, value in zip(knobs, own, strict=True))
        return int(min(self.planned, math.prod(_count(knob) for knob in knobs) - listed))

    @property
    def _base_values(self) -> Any:
        return self.base.model_dump(mode="json")


def default_final_seeds(base: BaseConfig, count: int = 5) -> tuple[int, ...]:
    """The first seeds from 1 that are not the seed of the trials."""
    others = (seed for seed in itertools.count(1) if seed != base.student.seeds[0])
    return tuple(itertools.islice(others, count))


def _trains_baseline(base: BaseConfig, path: str) -> bool:
    """Whether the student without distillation is trained with the value at this path."""
    if isinstance(base, MetaKDConfig):  # as the last training says, for the epochs of both
        return path.startswith("student.prediction.training.") or path == "student.intermediate.training.epochs"
    return path.startswith("student.training.")


def _count(knob: Knob) -> float:
    """How many values it has."""
    if isinstance(knob, Choice | Grid):
        return len(knob.values)
    return round((knob.high - knob.low) / knob.step) + 1 if isinstance(knob, QUniform) else math.inf


def _has(knob: Knob, value: Any) -> bool:
    """Whether a value is one of those it has; of a range nobody draws any one in particular."""
    if isinstance(knob, Choice | Grid):
        return value in knob.values
    if not isinstance(knob, QUniform) or not isinstance(value, int | float) or not knob.low <= value <= knob.high:
        return False
    return math.isclose((value - knob.low) / knob.step % 1, 0, abs_tol=1e-9)


def default_space(base: BaseConfig) -> dict[str, Any]:
    """What a kind of job is searched for when nobody says: its temperature and its weight of the teacher."""
    temperature = {"kind": "loguniform", "low": 1.0, "high": 10.0}
    weight = {"kind": "uniform", "low": 0.0, "high": 1.0}
    if isinstance(base, MetaKDConfig):
        return {"student.prediction.temperature": temperature, "student.intermediate.domain_loss_weight": weight}
    space = {"student.objective.temperature": temperature, "student.objective.alpha": weight}
    return {path: knob for path, knob in space.items() if hasattr(base.student.objective, path.rsplit(".", 1)[-1])}
