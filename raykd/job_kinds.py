"""Kinds of jobs that ``raykd run`` runs, by the class of their configuration. Heavy libraries load when a job is run."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from raykd.config import ExperimentConfig, MetaKDConfig
from raykd.errors import ConfigError
from raykd.stage_names import META_STAGES, STAGES, MetaStageName, StageName


def _outline_distillation(config: ExperimentConfig, stages: Sequence[StageName]) -> str:
    from raykd.distill.dry_run import outline

    return outline(config, stages)


def _run_distillation(config: ExperimentConfig, stages: Sequence[StageName]) -> None:
    from raykd.distill.pipeline import run_experiment

    run_experiment(config, only=stages)


def _outline_meta_kd(config: MetaKDConfig, stages: Sequence[MetaStageName]) -> str:
    from raykd.metakd.dry_run import outline

    return outline(config, stages)


def _run_meta_kd(config: MetaKDConfig, stages: Sequence[MetaStageName]) -> None:
    from raykd.metakd.pipeline import run_meta_kd

    run_meta_kd(config, only=stages)


@dataclass(frozen=True)
class JobKind:
    """A kind of job: its stages, its summary without running it, and its run."""

    stages: tuple[str, ...]
    """Names of its stages, in order."""
    outline: Callable[[Any, Sequence[Any]], str]
    """Called with the configuration and the stages to list; none lists all."""
    run: Callable[[Any, Sequence[Any]], None]
    """Called with the configuration and the stages to run; none runs all. Raises RaykdError."""

    def choose(self, names: Sequence[str]) -> list[str]:
        """Stages of these names, in order. Raises ConfigError for a name that is none."""
        for name in names:
            if name not in self.stages:
                raise ConfigError(f"--stage {name}: there is no such stage; stages are {', '.join(self.stages)}")
        return [name for name in self.stages if name in names]


RUN_KINDS: dict[type, JobKind] = {
    ExperimentConfig: JobKind(STAGES, _outline_distillation, _run_distillation),
    MetaKDConfig: JobKind(META_STAGES, _outline_meta_kd, _run_meta_kd),
}
