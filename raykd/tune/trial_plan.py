"""Tasks of a trial: the chains of its job with the changes that all trials of a search have in common."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from raykd.config import TorchEngineConfig, TrackingConfig, TrainingConfig, with_values
from raykd.config.search_space import Value
from raykd.data import storage
from raykd.run.task import TrainTask, key_of
from raykd.tune.jobs.job_plan import JobPlan, TaskChain, share_teacher_states
from raykd.tune.trial_teacher import TrialTeacher


@dataclass(frozen=True)
class TrialPlan:
    """A job's plan for trials, as a value that travels to their actors."""

    job: JobPlan[Any]
    seed: int
    """Seed of every trial."""
    metric: str
    """Metric that trials are compared by."""
    folder: str
    """Folder in which trials note finished intermediate trainings for other trials."""
    max_steps: int | None
    """Maximum optimiser steps of each training."""
    trials: int = 1
    """Number of trials."""
    local: bool = True
    """Train in the trial's own actor, on the engine that needs no process group."""
    interval: int | None = None
    """Optimiser steps between the checkpoints of population-based training; None when values stay as they are."""

    def trial_teacher(self, values: Mapping[str, Value]) -> TrialTeacher | None:
        """The trial's teacher, with the base's full budget; None for the job's own."""
        found = self.job.trial_teacher(with_values(self.job.base, values))
        if found is None:
            return None
        engine = {"engine": TorchEngineConfig()} if self.local else {}
        return found.with_task(tracking=TrackingConfig(), **engine)

    def chains(self, index: int, values: Mapping[str, Value], folder: str) -> dict[str, TaskChain]:
        """The trial's chains by domain. Their tasks are tracked by the trial as one run."""

        def adapt(task: TrainTask, *, domain: str, last: bool) -> TrainTask:
            del domain
            task = self._limited(task)
            if not last:
                return self._shared(task)
            return task.model_copy(update={"key": key_of(index, task.key if self.interval is None else self._base_key())})

        config = with_values(self.job.base, values)
        return self.job.chains(config, variant="kd", seed=self.seed, folder=folder, adapt=adapt)

    def offer(self, task: TrainTask) -> None:
        """Note a finished intermediate training for other trials that need the same one."""
        storage.write_json(self._note(task), {"folder": task.folder})

    def _base_key(self) -> str:
        """Key of the training with the base's values, which identifies a training whose values change."""

        def adapt(task: TrainTask, *, domain: str, last: bool) -> TrainTask:
            del domain, last
            return self._limited(task)

        return next(self.job.chains(self.job.base, variant="kd", seed=self.seed, folder="", adapt=adapt)[""]).key

    def _shared(self, task: TrainTask) -> TrainTask:
        """Return the same task in the folder of a trial that has finished it, if there is one."""
        note = self._note(task)
        if not storage.exists(note):
            return task
        there = task.model_copy(update={"folder": storage.read_json(note)["folder"]})
        return there if there.is_done() else task

    def _note(self, task: TrainTask) -> str:
        return storage.join(self.folder, f"{task.key}.json")

    def _limited(self, task: TrainTask) -> TrainTask:
        training = limit_steps(task.training, self.max_steps)
        if self.interval is not None:
            training = training.model_copy(update={"checkpoint_steps": self.interval})
        changes: dict[str, Any] = {"training": training, "tracking": TrackingConfig()}
        if self.local:
            changes["engine"] = TorchEngineConfig()
        changes["key"] = key_of("trial", task.key, self.max_steps)
        task = share_teacher_states(task, trainings=self.trials, across_processes=True)
        return task.model_copy(update=changes)


def limit_steps(training: TrainingConfig, max_steps: int | None) -> TrainingConfig:
    """Return the training with at most ``max_steps`` optimiser steps."""
    if max_steps is None:
        return training
    return training.model_copy(update={"max_steps": min(max_steps, training.max_steps or max_steps)})
