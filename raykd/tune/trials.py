"""The trials of a search on Ray Tune: those that are left, from where an earlier run stopped."""

import itertools
import logging
import math
import os
import time
from collections.abc import Mapping
from typing import Any

from raykd.config import ExperimentConfig, MetaKDConfig, TuneConfig, with_values
from raykd.config.search_space import Value
from raykd.data import storage
from raykd.data.tokenised_set import TokenisedSet
from raykd.run.progress import Terminal
from raykd.run.train_task import total_steps
from raykd.tune.resource_request import ResourceRequest
from raykd.tune.space import Suggester
from raykd.tune.trial_plan import DistillationPlan, Plan, TrialPlan, limited
from raykd.tune.trial_record import Journal, TrialRecord
from raykd.tune.trial_teacher_turns import Turns

QUIET = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # CSV, JSON and TensorBoard files of its own
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "RAY_AIR_NEW_OUTPUT": "0",  # the other one prints errors whatever it is told
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a report of a trial that is not as far has no figure
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # the journal is what a search continues from
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

RAY_NOTES = "ray/trials"
"""Where Ray Tune keeps its own notes, of which nothing is read once it has ended."""


def run_trials(
    config: TuneConfig, plan: Plan, places: ResourceRequest, *, folder: str, terminal: Terminal
) -> list[TrialRecord]:
    """Run what is left of the trials; all records, of earlier runs too."""
    from raykd.tune.watch import Watch

    journal = Journal(storage.join(folder, "trials"))
    suggester = Suggester(config)
    ended = [record for record in journal.read() if record.ended]
    known = {record.index: record.values for record in journal.read()}
    for record in ended:
        suggester.tell(record)
    remaining = [index for index in range(config.num_trials) if index not in {record.index for record in ended}]
    if ended:
        terminal.say(f"{len(ended)} of {config.num_trials} trials ended before, skipped")
    turns = Turns() if remaining and config.teacher_paths else None

    def on_end(record: TrialRecord) -> None:
        suggester.tell(record)
        if turns is not None:
            turns.forget(record.index)

    watch = Watch(
        journal,
        metric=config.metric,
        mode=config.mode,
        planned=config.num_trials,
        terminal=terminal,
        on_end=on_end,
        patience_s=config.base.compute.start_timeout_s,
    )
    if remaining:
        values = _Values(suggester, known)
        with watch.table():
            _tuner(config, plan, places, journal, remaining, values, watch, ended, folder, turns).fit()
        storage.remove(storage.join(folder, RAY_NOTES))
        for index in remaining:  # of a population, which others could still have gone on from
            storage.remove(storage.join(journal.trial_folder(index), "checkpoints"))
    return watch.records


class _Values:
    """A trial's knobs: what an earlier run gave it, else a new draw."""

    def __init__(self, suggester: Suggester, known: Mapping[int, dict[str, Value]]) -> None:
        self._suggester, self._known = suggester, known

    def __call__(self, index: int) -> dict[str, Value]:
        return self._known[index] if index in self._known else self._suggester.values(index)


def _tuner(  # noqa: PLR0917 (one caller, one purpose)
    config: TuneConfig,
    plan: Plan,
    places: ResourceRequest,
    journal: Journal,
    remaining: list[int],
    values: _Values,
    watch: Any,
    ended: list[TrialRecord],
    folder: str,
    turns: Turns | None,
) -> Any:
    os.environ.update(QUIET)
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it tells of every failed trial, as we do
    from ray import tune

    from raykd.tune.schedulers import build_scheduler, replay
    from raykd.tune.suggest import Remaining
    from raykd.tune.trainable import LocalTrial, TrialSettings, grouped_trial, trial_name

    interval = config.perturbation_interval
    moving = interval is not None
    scheduler = build_scheduler(config, total_steps=trial_steps(config, plan))
    if not moving:
        replay(scheduler, ended)
    compute = config.base.compute
    settings = TrialSettings(
        plan=TrialPlan(
            plan,
            config.trial_seed,
            config.metric,
            storage.join(journal.folder, "stage-first"),
            config.max_steps,
            trials=config.num_trials,
            local=places.local,
            interval=interval,
        ),
        journal=journal,
        group=config.name,
        tracking=config.base.tracking,
        threads=compute.cpus_per_worker,
        turns=turns,
    )
    trainable = tune.with_parameters(LocalTrial if places.local else grouped_trial, settings=settings)
    given: dict[str, Any] = {"search_alg": Remaining(remaining, values), "num_samples": len(remaining)}
    space: dict[str, Any] = {}
    if moving:  # Ray's population-based training takes no searcher: the population is drawn at once
        draws = [{"index": index, "values": values(index)} for index in remaining]
        space = {"index": tune.grid_search([draw["index"] for draw in draws]), "values": tune.sample_from(_Drawn(draws))}
        given = {}
    return tune.Tuner(
        tune.with_resources(trainable, tune.PlacementGroupFactory([places.resources])),
        param_space=space,
        tune_config=tune.TuneConfig(
            scheduler=scheduler,
            max_concurrent_trials=None if moving else places.concurrency,
            reuse_actors=places.local,
            trial_name_creator=trial_name,
            trial_dirname_creator=trial_name,
            **given,
        ),
        run_config=tune.RunConfig(
            name=f"{config.name}-{time.time_ns()}",
            storage_path=storage.absolute(storage.join(folder, RAY_NOTES)),
            failure_config=tune.FailureConfig(max_failures=config.retries),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[watch],
            verbose=0,
        ),
    )


class _Drawn:
    """The knobs of a member of the population, by its number."""

    def __init__(self, draws: list[dict[str, Any]]) -> None:
        self._draws = {draw["index"]: draw["values"] for draw in draws}

    def __call__(self, config: Any) -> dict[str, Value]:
        return dict(self._draws[config["index"]])


def trial_steps(config: TuneConfig, plan: Plan) -> int:
    """Optimiser steps of the longest trial that the space allows; what schedulers count up to."""
    base = config.base
    if isinstance(base, MetaKDConfig) or not isinstance(plan, DistillationPlan):
        return 1  # no scheduler stops a trial of this kind
    rows = TokenisedSet.open(plan.train).num_rows
    lengths = [path for path in config.space if path in base.step_paths]
    longest = 0
    for values in itertools.product(*(config.space[path].check_values() for path in lengths)):
        tried = with_values(base, dict(zip(lengths, values, strict=True)))
        assert isinstance(tried, ExperimentConfig)
        training = limited(tried.student.training, config.max_steps)
        longest = max(longest, total_steps(training, math.ceil(rows / training.batch_size)))
    return longest
