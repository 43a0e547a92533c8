"""Searches of each kind of job behind one interface."""

from collections.abc import Callable
from typing import Any

from raykd.config import ExperimentConfig, MetaKDConfig
from raykd.config.searched_job import SearchedJob
from raykd.progress import Terminal
from raykd.tune.jobs.distill_job import DistillationWork
from raykd.tune.jobs.job_plan import JobPlan, JobWork, Variant
from raykd.tune.jobs.metakd_job import MetaKDWork

__all__ = ["JobPlan", "JobWork", "Variant", "shared_work_of"]

JOB_WORK: dict[type[SearchedJob], Callable[[Any, Terminal], JobWork]] = {
    ExperimentConfig: DistillationWork,
    MetaKDConfig: MetaKDWork,
}


def shared_work_of(base: SearchedJob, terminal: Terminal) -> JobWork:
    """The work that all trials of a search over this job share."""
    return JOB_WORK[type(base)](base, terminal)
