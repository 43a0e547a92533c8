"""Ray for one EasyNLP command: the cluster of ``RAY_ADDRESS``, else this machine."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager

from raykd.cluster import DATA_CPUS
from raykd.config import ComputeConfig
from raykd.config.training import Precision
from raykd.easynlp.settings import Workers
from raykd.errors import ResourceError
from raykd.local_ray import local_cores
from raykd.session import start_ray, stop_ray

log = logging.getLogger(__name__)


@contextmanager
def connected(workers: Workers, precision: Precision) -> Iterator[ComputeConfig]:
    """Run the block with Ray; yields the workers' resources. Raises ResourceError when they do not fit."""
    threads = threads_per_worker(workers.count)
    started = start_ray(num_cpus=workers.count * threads + DATA_CPUS)
    try:
        import ray

        resources = ray.cluster_resources()
        yield ComputeConfig(
            num_workers=workers.count,
            cpus_per_worker=max(1, min(threads, int(resources.get("CPU", 0) - DATA_CPUS) // workers.count)),
            use_gpu=use_gpus(workers, int(resources.get("GPU", 0))),
            precision=precision,
            prediction_actors=workers.count,
        )
    finally:
        if started:
            stop_ray()


def threads_per_worker(workers: int) -> int:
    """CPUs per worker: an equal share of this machine; one on a cluster, whose machines are unknown."""
    return 1 if os.environ.get("RAY_ADDRESS") else max(1, local_cores() // workers)


def use_gpus(workers: Workers, available: int) -> bool:
    """True when each worker gets a GPU; without GPUs, CPUs are used with a warning. Raises ResourceError for too few."""
    if not workers.gpu:
        if available:
            log.warning("a GPU is here, but --worker_gpu asks for none; --worker_gpu=1 uses it")
        return False
    if 0 < available < workers.count:
        raise ResourceError(
            f"--worker_count x --worker_gpu asks for {workers.count} GPUs, but there are {available}; lower one of the two"
        )
    if not available:
        log.warning("--worker_gpu asks for a GPU, but there is none: running on the CPU")
    return available > 0
