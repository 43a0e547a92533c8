"""The trials of a search on Ray Tune: those that have not ended, each from its last checkpoint."""

import itertools
import logging
import os
import time
from dataclasses import dataclass
from typing import Any

from raykd.config import TuneConfig, with_values
from raykd.config.search_space import Value
from raykd.data import storage
from raykd.progress import Terminal
from raykd.tune.jobs import JobPlan
from raykd.tune.resource_request import ResourceRequest
from raykd.tune.teacher_locks import TeacherLocks
from raykd.tune.trial_plan import TrialPlan
from raykd.tune.trial_record import TrialJournal, TrialRecord

RAY_TUNE_SETTINGS = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # CSV, JSON and TensorBoard files of its own
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Ctrl-C is ours
    "RAY_AIR_NEW_OUTPUT": "0",  # the other one prints errors at any verbosity
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # an early report of a trial has no metric
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # a search resumes from its journal
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
}

RAY_TUNE_FOLDER = "ray/trials"
"""Ray Tune's own state, which nothing reads after the trials have ended."""


class TrialRunner:
    """Runs the trials of a search that have not ended."""

    def __init__(
        self, config: TuneConfig, plan: JobPlan[Any], request: ResourceRequest, *, folder: str, terminal: Terminal
    ) -> None:
        self._config, self._plan, self._request = config, plan, request
        self._folder, self._terminal = folder, terminal
        self._journal = TrialJournal(storage.join(folder, "trials"))
        kept = self._journal.read()
        self._ended = [record for record in kept if record.ended]
        from raykd.tune.trial_sampler import TrialSampler  # needs Optuna, of the extra raykd[tune]

        self._sampler = TrialSampler(config)
        for record in self._ended:
            self._sampler.tell(record)
        self._known = {record.index: record.values for record in kept}
        ended = {record.index for record in self._ended}
        self._pending = [index for index in range(config.num_trials) if index not in ended]
        self._locks: TeacherLocks | None = None

    def run(self) -> list[TrialRecord]:
        """Run the pending trials; return the records of all."""
        from raykd.tune.trial_callback import TrialCallback

        if self._ended:
            self._terminal.print_line(f"{len(self._ended)} of {self._config.num_trials} trials ended before, skipped")
        if self._pending and self._config.teacher_paths:
            self._locks = TeacherLocks()
        callback = TrialCallback(
            self._journal,
            metric=self._config.metric,
            mode=self._config.mode,
            num_trials=self._config.num_trials,
            terminal=self._terminal,
            on_end=self._on_end,
            timeout_s=self._config.base.compute.start_timeout_s,
        )
        if self._pending:
            with callback.table():
                self._tuner(callback).fit()
            self._clean()
        return callback.records

    def values_of(self, index: int) -> dict[str, Value]:
        """Values of a trial: those of an earlier run, else a new draw."""
        return self._known[index] if index in self._known else self._sampler.values(index)

    def _on_end(self, record: TrialRecord) -> None:
        self._sampler.tell(record)
        if self._locks is not None:
            self._locks.release_all(record.index)

    def _clean(self) -> None:
        storage.remove(storage.join(self._folder, RAY_TUNE_FOLDER))
        for index in self._pending:  # checkpoints of a population, which other trials could continue from until now
            storage.remove(storage.join(self._journal.trial_folder(index), "checkpoints"))

    def _tuner(self, callback: Any) -> Any:
        os.environ.update(RAY_TUNE_SETTINGS)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # it prints every failed trial, as the callback does
        from ray import tune

        from raykd.tune.trainable import LocalTrial, group_trial

        trainable = tune.with_parameters(LocalTrial if self._request.local else group_trial, settings=self._settings())
        space, source = self._source()
        return tune.Tuner(
            tune.with_resources(trainable, tune.PlacementGroupFactory([self._request.resources])),
            param_space=space,
            tune_config=self._tune_config(source),
            run_config=tune.RunConfig(
                name=f"{self._config.name}-{time.time_ns()}",
                storage_path=storage.absolute(storage.join(self._folder, RAY_TUNE_FOLDER)),
                failure_config=tune.FailureConfig(max_failures=self._config.retries),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                callbacks=[callback],
                verbose=0,
            ),
        )

    def _tune_config(self, source: dict[str, Any]) -> Any:
        from ray import tune

        from raykd.tune.schedulers import build_scheduler, replay
        from raykd.tune.trainable import trial_name

        population = self._config.perturbation_interval is not None
        scheduler = build_scheduler(self._config, total_steps=longest_trial(self._config, self._plan))
        if not population:
            replay(scheduler, self._ended)
        return tune.TuneConfig(
            scheduler=scheduler,
            max_concurrent_trials=None if population else self._request.concurrency,
            reuse_actors=self._request.local,
            trial_name_creator=trial_name,
            trial_dirname_creator=trial_name,
            **source,
        )

    def _source(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parameter space and searcher. Population-based training takes no searcher: the population is drawn at once."""
        from ray import tune

        from raykd.tune.pending_trials import PendingTrials

        if self._config.perturbation_interval is None:
            return {}, {"search_alg": PendingTrials(self._pending, self.values_of), "num_samples": len(self._pending)}
        values = {index: self.values_of(index) for index in self._pending}
        return {"index": tune.grid_search(self._pending), "values": tune.sample_from(_PopulationValues(values))}, {}

    def _settings(self) -> Any:
        from raykd.tune.trainable import TrialSettings

        return TrialSettings(
            plan=TrialPlan(
                self._plan,
                self._config.trial_seed,
                self._config.metric,
                storage.join(self._journal.folder, "intermediate"),
                self._config.max_steps,
                trials=self._config.num_trials,
                local=self._request.local,
                interval=self._config.perturbation_interval,
            ),
            journal=self._journal,
            group=self._config.name,
            tracking=self._config.base.tracking,
            threads=self._config.base.compute.worker_cpus,
            locks=self._locks,
        )


@dataclass(frozen=True)
class _PopulationValues:
    """Values of a member of the population by its number, in the form that Ray Tune samples from."""

    values: dict[int, dict[str, Value]]

    def __call__(self, config: Any) -> dict[str, Value]:
        return dict(self.values[config["index"]])


def longest_trial(config: TuneConfig, plan: JobPlan[Any]) -> int:
    """Optimiser steps of the longest trial that the space allows, which schedulers count up to."""
    paths = [path for path in config.space if path in config.base.step_paths]
    return max(
        plan.num_steps(with_values(config.base, dict(zip(paths, values, strict=True))), config.max_steps)
        for values in itertools.product(*(config.space[path].check_values() for path in paths))
    )
