"""Placement of trainings: one at a time on all workers, or several side by side on fewer workers each.

Data-parallel workers of one machine wait for each other after every step, which costs more than a small model's step: on two
cores, two workers train a BERT of 4 layers and width 128 at 0.83 of the rows per second of one worker alone, and two
trainings of one worker each at twice its rate. Only a model whose state is partitioned (ZeRO 1 to 3) may need all workers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from raykd.config import ComputeConfig, DeepSpeedEngineConfig

PROCESS_BYTES = 2 * 2**30
"""Memory that a training is reserved in each worker when several run on one machine: libraries, model, optimiser, rows."""


@dataclass(frozen=True)
class Placement:
    """Number of trainings at a time, and the workers of each."""

    parallel: int
    """Trainings at a time."""
    workers: int | tuple[int, int]
    """Data-parallel workers of each; a range for an elastic number."""
    cpus: int
    """CPUs and PyTorch threads of each worker."""

    @property
    def cost(self) -> int:
        """CPUs of one training; the most of an elastic one."""
        return self.max_workers * self.cpus

    @property
    def max_workers(self) -> int:
        """Workers of one training, at most."""
        return self.workers if isinstance(self.workers, int) else self.workers[1]

    @property
    def shape(self) -> tuple[int | tuple[int, int], int]:
        """Workers and CPUs, which groups of workers must agree in to take over each other's tasks."""
        return self.workers, self.cpus

    def compute(self, compute: ComputeConfig, *, use_gpu: bool) -> ComputeConfig:
        """The job's settings for one training; ``use_gpu`` is decided once for all of them."""
        return compute.model_copy(update={"num_workers": self.workers, "cpus_per_worker": self.cpus, "use_gpu": use_gpu})

    def __str__(self) -> str:
        workers = "1 worker" if self.workers == 1 else f"{self.workers} workers"
        return f"{self.parallel} at a time, {workers} of {self.cpus} CPU{'s' if self.cpus > 1 else ''} each"


@dataclass(frozen=True)
class AvailableResources:
    """Resources that the workers of all trainings may use at a time."""

    cpus: int
    """Cores of this machine, or CPUs of a cluster."""
    gpus: int | None = None
    """GPUs; None where workers use none."""
    memory: int | None = None
    """Bytes of memory; None where other limits apply, as on a cluster."""
    ray_cpus: int | None = None
    """CPUs that Ray can reserve for workers, which may be fewer or more than cores; None for no limit. Workers that wait for a
    task keep theirs, so that a training beyond the limit would never start."""

    def holds(self, placements: Sequence[Placement]) -> bool:
        """True when one training of each placement fits at the same time."""
        if self.gpus is not None and sum(one.max_workers for one in placements) > self.gpus:
            return False
        if self.memory is not None and sum(one.max_workers for one in placements) * PROCESS_BYTES > self.memory:
            return False
        return sum(one.cost for one in placements) <= self.cpus


def wide(compute: ComputeConfig) -> Placement:
    """One training at a time, on all workers of the job."""
    return Placement(1, compute.num_workers, compute.worker_cpus)


def goes_side_by_side(compute: ComputeConfig) -> bool:
    """True when several trainings may run side by side."""
    if compute.placement == "wide" or compute.elastic or compute.parallel_tasks == 1:
        return False
    engine = compute.engine
    partitioned = isinstance(engine, DeepSpeedEngineConfig) and engine.zero_stage > 0 and compute.max_workers > 1
    return compute.placement == "side_by_side" or not partitioned


def place(compute: ComputeConfig, tasks: int, available: AvailableResources) -> Placement:
    """The placement of ``tasks`` trainings of one stage.

    As many at a time as there are cores (or GPUs), no more than ``parallel_tasks``, or than Ray has CPUs or GPUs; each on an
    equal share of the workers that the resources allow, at most ``num_workers`` of at most ``cpus_per_worker`` CPUs, at least
    one of one CPU. A pure function of the job and the resources, so that a run that continues trains as before.
    """
    one = wide(compute)
    if not goes_side_by_side(compute):
        return one
    cores = available.cpus if available.ray_cpus is None else min(available.cpus, available.ray_cpus)
    fit = cores if available.gpus is None else available.gpus
    if available.memory is not None:
        fit = min(fit, available.memory // PROCESS_BYTES)
    most = min((limit for limit in (available.gpus, available.ray_cpus) if limit is not None), default=tasks)
    parallel = min(tasks, compute.parallel_tasks or fit, most)
    if parallel < 2:
        return one
    fit_wide = cores // compute.worker_cpus if available.gpus is None else most
    workers = max(1, min(compute.max_workers, fit_wide // parallel))
    cpus = max(1, min(compute.worker_cpus, cores // (parallel * workers)))
    return Placement(parallel, workers, cpus)
