"""Resources of trials: how many fit at a time, and an error before anything starts when not even one does."""

import os
from dataclasses import dataclass
from typing import Any

from raykd.cluster import DATA_CPUS, alive_nodes, local_training_cpus, uses_gpu
from raykd.config import ComputeConfig, TuneConfig
from raykd.errors import ResourceError
from raykd.local_ray import local_cores

DRIVER_BYTES = float(2**20)
"""Memory that the driver of a larger trial requests: Ray Tune starts nothing that requests nothing."""


@dataclass(frozen=True)
class ResourceRequest:
    """Resources of one trial, and the number of trials at a time."""

    concurrency: int
    resources: dict[str, float]
    """Resources of the trial's own actor: its CPUs if it trains there, 0 if it only drives workers elsewhere."""
    local: bool
    """True when a trial trains in its own actor."""


def cpus_to_start(config: TuneConfig) -> int:
    """Logical CPUs of a Ray that is started here for the search. Raises ResourceError when a trial does not fit."""
    compute = config.base.compute
    trial, cores = compute.min_workers * compute.worker_cpus, local_cores()
    if trial > cores:
        raise ResourceError(_too_much(compute, f"this machine has {cores}"))
    training = local_training_cpus(compute, config.num_trials)
    before = training + compute.prediction_actors * compute.worker_cpus + DATA_CPUS
    return max(before, min(config.concurrency or _by_cores(compute), config.num_trials) * (trial + DATA_CPUS))


def request_resources(config: TuneConfig) -> ResourceRequest:
    """Size trials to the cluster. Raises ResourceError when it cannot hold one trial, or ``concurrency`` trials at a time."""
    compute = config.base.compute
    gpus = 1 if uses_gpu(compute) else 0
    local = compute.max_workers == 1
    fit = _fit_in_actors(compute, gpus) if local else _fit_in_groups(compute, gpus)
    if not fit:
        raise ResourceError(_too_much(compute, f"the cluster's nodes have {_counts('CPU')} CPUs and {_counts('GPU')} GPUs"))
    if config.concurrency is not None and config.concurrency > fit:
        raise ResourceError(
            f"concurrency = {config.concurrency}, but the cluster carries {fit} trials of {compute.min_workers} x "
            f"{compute.worker_cpus} CPUs at a time; lower concurrency, or add nodes"
        )
    if not os.environ.get("RAY_ADDRESS"):  # a Ray of this machine's own, whose CPUs only count
        fit = min(fit, _by_cores(compute))
    at_once = min(config.concurrency or fit, config.num_trials)
    cpus = float(compute.worker_cpus)
    if config.scheduler.kind == "pbt":
        cpus = _cpu_share(at_once, at_least=cpus)
    resources = {"CPU": cpus, "GPU": float(gpus)} if local else {"memory": DRIVER_BYTES}
    return ResourceRequest(at_once, resources, local)


def final_compute(config: TuneConfig, request: ResourceRequest) -> ComputeConfig:
    """Settings of the final trainings: on a cluster as many at a time as trials, and never more than ``concurrency``."""
    given = [config.concurrency, config.base.compute.parallel_tasks]
    limits = [limit for limit in (*given, request.concurrency if os.environ.get("RAY_ADDRESS") else None) if limit]
    return config.base.compute.model_copy(update={"parallel_tasks": min(limits, default=None)})


def _by_cores(compute: ComputeConfig) -> int:
    """Number of trials that use all cores of this machine."""
    return max(1, local_cores() // (compute.min_workers * compute.worker_cpus))


def _cpu_share(at_once: int, *, at_least: float) -> float:
    """CPUs of each trial so that at most ``at_once`` run: Ray Tune limits a population by its resources alone."""
    nodes = [float(node.get("CPU", 0)) for node in _nodes()]
    shares = sorted({at_least, *(cpus / trials for cpus in nodes for trials in range(1, at_once + 1))})
    return next(share for share in shares if share >= at_least and sum(cpus // share for cpus in nodes) <= at_once)


def _fit_in_actors(compute: ComputeConfig, gpus: int) -> int:
    """Number of actors that the nodes can hold; an actor never spans two nodes."""
    found = 0
    for node in _nodes():
        by_cpu = int(node.get("CPU", 0) // compute.worker_cpus)
        found += min(by_cpu, int(node.get("GPU", 0))) if gpus else by_cpu
    return found


def _fit_in_groups(compute: ComputeConfig, gpus: int) -> int:
    """Number of worker groups that the nodes can hold, with a CPU left for Ray Data; drivers of trials hold none."""
    spare = compute.model_copy(update={"cpus_per_worker": 1})
    workers = _fit_in_actors(compute, gpus)
    while workers and _fit_in_actors(spare, 0) - workers * compute.worker_cpus < DATA_CPUS:
        workers -= 1
    return workers // compute.min_workers


def _nodes() -> list[dict[str, Any]]:
    return [node["Resources"] for node in alive_nodes()]


def _counts(name: str) -> list[int]:
    return [int(node.get(name, 0)) for node in _nodes()]


def _too_much(compute: ComputeConfig, there: str) -> str:
    return (
        f"one trial needs {compute.min_workers} x {compute.worker_cpus} CPUs{' with GPUs' if compute.use_gpu else ''}, "
        f"{there}; lower base.compute.num_workers or base.compute.cpus_per_worker, or add nodes"
    )
