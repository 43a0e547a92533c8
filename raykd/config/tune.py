"""A search: a job of ``kind: tune``, which tries values of another job's configuration."""

import functools
import itertools
import math
import re
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from raykd.config.experiment import ExperimentConfig
from raykd.config.metakd import MetaKDConfig
from raykd.config.search_space import Choice, Grid, Hyperparameter, Value
from raykd.config.section import Section
from raykd.config.trial_schedulers import NoScheduler, Population, Scheduler

BaseConfig = ExperimentConfig | MetaKDConfig
NUM_FINAL_SEEDS = 5


class TuneConfig(Section):
    """A search over values of another job's configuration; the best trial's values are trained again, tested and saved."""

    kind: Literal["tune"] = "tune"
    name: str
    """Name of the search; its folder is `name` in the base's storage."""
    base: BaseConfig
    """The job that is searched; in a file also the path of a job file, relative to this one."""
    space: dict[str, Hyperparameter] = Field(default_factory=lambda given: given["base"].default_space(), validate_default=True)
    """Searched hyperparameters, by the path of the value in the base; left out, those usual for this kind of job."""
    searcher: Literal["optuna", "random", "grid"] = "optuna"
    """optuna: TPE, learns from trials that ended; random: independent draws; grid: every combination of listed values."""
    scheduler: Scheduler = NoScheduler()
    """Rule that stops trials early, by the metric on the validation rows."""
    trials: int = Field(24, ge=1)
    """Number of trials; a grid has one for each combination, at most this many."""
    concurrency: int | None = Field(None, ge=1)
    """Number of trials at a time; null uses as many as the CPUs can hold."""
    retries: int = Field(1, ge=0)
    """Restarts of a failed trial."""
    max_steps: int | None = Field(None, ge=1)
    """Maximum optimiser steps of each student's training in a trial; null gives trials the base's full budget. A teacher that a
    trial trains always has its full budget."""
    seed: int = Field(1, ge=0)
    """Seed of the searcher."""
    final_seeds: tuple[Annotated[int, Field(ge=0)], ...] = Field(
        default_factory=lambda given: default_final_seeds(given["base"]), min_length=1
    )
    """Seeds of the final trainings: the winner, the base's own values and the student without distillation. The seed of the
    trials (the first of the base's `student.seeds`) is refused; left out, the first five other seeds from 1."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.name):
            raise ValueError(f"name = {self.name!r}: use letters, digits, '.', '_' and '-', beginning with a letter or digit")
        self._check_final_seeds()
        self.base.check_searchable()
        self._check_searcher()
        self._check_scheduler()
        return self

    def _check_final_seeds(self) -> None:
        if len(set(self.final_seeds)) < len(self.final_seeds):
            raise ValueError(f"final_seeds = {list(self.final_seeds)}: give each seed once")
        if self.trial_seed in self.final_seeds:
            others = default_final_seeds(self.base, len(self.final_seeds))
            raise ValueError(
                f"final_seeds = {list(self.final_seeds)} has the seed of the trials, {self.trial_seed} (the first of "
                "base.student.seeds): the best trial was chosen for its result with that seed, which must not count again; "
                f"give others, such as {list(others)}"
            )

    def _check_searcher(self) -> None:
        if not self.space:
            raise ValueError("space is empty; name a value to search, or leave space out for what is usual")
        grids = {path: one for path, one in self.space.items() if one.kind == "grid"}
        if self.searcher == "optuna" and grids:
            raise ValueError(f"searcher = 'optuna' cannot learn from the grid of {next(iter(grids))}; make it kind: choice")
        if self.searcher == "grid":
            for path, one in self.space.items():
                if one.kind not in ("grid", "choice"):
                    raise ValueError(f"searcher = 'grid' needs listed values, but {path} is {one.kind}; make it kind: grid")
        if self.num_combinations > self.trials:
            sizes = " x ".join(str(len(one.values)) for one in self._listed.values())
            raise ValueError(
                f"the grid has {self.num_combinations} combinations ({sizes}), trials = {self.trials}; "
                "raise trials, or list fewer values"
            )

    def _check_scheduler(self) -> None:
        kind = self.scheduler.kind
        if kind != "none" and not self.base.trials_report_early:
            raise ValueError(
                f"scheduler = {kind!r}: a trial of this kind of job has no metric before its end; set scheduler.kind to none"
            )
        if isinstance(self.scheduler, Population):
            self._check_population(self.scheduler)

    def _check_population(self, population: Population) -> None:
        reason = self.base.refuse_population()
        if reason is not None:
            raise ValueError(f"scheduler = 'pbt': {reason}")
        for path in self.space:
            if path not in self.base.movable_paths:
                raise ValueError(
                    f"scheduler = 'pbt' cannot move {path} while a model trains; it moves {', '.join(self.base.movable_paths)}"
                )
        if self.searcher == "optuna":
            raise ValueError(
                "searcher = 'optuna' with scheduler = 'pbt': a population is drawn at once, so no trial can be learnt from "
                "before the next is drawn; set searcher to random"
            )
        if self.num_trials < 2:
            raise ValueError("scheduler = 'pbt' needs trials to take over from each other; raise trials to at least 2")
        if self.base.compute.max_workers > 1:
            raise ValueError("scheduler = 'pbt' needs trials that train in their own actor; set base.compute.num_workers to 1")
        every = self.base.selected_training.evaluate_every
        if every is None or every > population.interval_steps:
            raise ValueError(
                f"scheduler.interval_steps = {population.interval_steps} with student.training.evaluate_every = {every}: "
                "trials are compared at evaluations, so evaluate at least once an interval"
            )

    @property
    def _listed(self) -> dict[str, Grid | Choice]:
        """The hyperparameters whose combinations are all tried."""
        kinds = Grid | Choice if self.searcher == "grid" else Grid
        return {path: one for path, one in self.space.items() if isinstance(one, kinds)}

    @property
    def num_combinations(self) -> int:
        """Number of combinations of listed values."""
        return math.prod(len(one.values) for one in self._listed.values())

    @property
    def grid_points(self) -> list[dict[str, Value]]:
        """Every combination of listed values; one empty combination without a grid."""
        listed = self._listed
        return [
            dict(zip(listed, values, strict=True)) for values in itertools.product(*(one.values for one in listed.values()))
        ]

    @property
    def num_trials(self) -> int:
        """Number of trials of the search."""
        return self.num_combinations if self.searcher == "grid" else self.trials

    @property
    def metric(self) -> str:
        """The metric on the validation rows that trials are compared by."""
        return self.base.trial_metric

    @property
    def mode(self) -> Literal["min", "max"]:
        """Direction in which the metric is better."""
        return "min" if self.metric in self.base.task_traits.smaller_is_better else "max"

    @property
    def perturbation_interval(self) -> int | None:
        """Optimiser steps between perturbations of population-based training, or None."""
        return self.scheduler.interval_steps if isinstance(self.scheduler, Population) else None

    @property
    def trial_seed(self) -> int:
        """Seed that every trial trains with."""
        return self.base.student.seeds[0]

    @property
    def base_values(self) -> dict[str, Value]:
        """Values of the searched hyperparameters in the base itself."""
        content: Any = self.base.model_dump(mode="json")
        return {path: functools.reduce(lambda part, key: part[key], path.split("."), content) for path in self.space}

    @property
    def baseline_paths(self) -> tuple[str, ...]:
        """Hyperparameters that change the training of the student without distillation too, which is then tuned as well."""
        return tuple(path for path in self.space if self.base.trains_baseline(path))

    @property
    def teacher_paths(self) -> tuple[str, ...]:
        """Hyperparameters of the teacher, which is trained again for each of their values."""
        return tuple(path for path in self.space if path.startswith("teacher."))

    @property
    def max_trial_teachers(self) -> int:
        """Maximum number of teachers that the trials train, besides the teacher with the base's own values."""
        if not self.teacher_paths:
            return 0
        searched = [self.space[path] for path in self.teacher_paths]
        own = self.base_values
        has_own = all(self.space[path].contains(own[path]) for path in self.teacher_paths)
        return int(min(self.num_trials, math.prod(one.count for one in searched) - has_own))


def default_final_seeds(base: BaseConfig, count: int = NUM_FINAL_SEEDS) -> tuple[int, ...]:
    """The first seeds from 1 that are not the seed of the trials."""
    others = (seed for seed in itertools.count(1) if seed != base.student.seeds[0])
    return tuple(itertools.islice(others, count))
