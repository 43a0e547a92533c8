"""Resources of a cluster: waiting with a limit for nodes to join, and the check that every node sees the storage."""

import logging
import os
import socket
import time
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from raykd.config import ComputeConfig
from raykd.data import storage
from raykd.data.file_systems import is_local
from raykd.errors import ResourceError
from raykd.local_ray import has_gpu, local_cores, starts_local_ray
from raykd.placement import AvailableResources, Placement, goes_side_by_side, place, wide

log = logging.getLogger(__name__)

DATA_CPUS = 1
"""CPUs for Ray Data's tasks that prepare and score rows; those that read rows for a training reserve none."""

POLL_SECONDS = 1.0
"""Seconds between checks of the cluster while waiting for nodes."""

ANSWER_SECONDS = 120
"""Timeout of a node's answer whether it sees a folder; the node starts a process for that."""

Bundle = Mapping[str, float]
"""Resources that must be on one node, by Ray's names."""


def alive_nodes() -> list[dict[str, Any]]:
    """Ray's description of every node that is up."""
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def offered(resource: str) -> float:
    """Amount of a resource that the cluster has, or can have with every node that its autoscaler may start."""
    import ray

    return max(float(ray.cluster_resources().get(resource, 0.0)), float((_most() or {}).get(resource, 0.0)))


def _most() -> dict[str, int] | None:
    """Maximum resources by the autoscaler; None without an autoscaler or limits."""
    from ray._private.state import state

    most: dict[str, int] | None = state.get_max_resources_from_cluster_config()
    return most


def uses_gpu(compute: ComputeConfig) -> bool:
    """True when workers and actors take a GPU: as configured, else where the cluster has, or may grow to, enough of them."""
    if compute.use_gpu is not None:
        return compute.use_gpu
    return offered("GPU") >= compute.min_workers


def with_worker_cpus(compute: ComputeConfig) -> ComputeConfig:
    """The settings with the CPUs of a worker, where the job names none and Ray is to be started on this machine without a GPU.

    Half of the cores: students that need no teacher train beside it on the others. Scoring uses all of them at most.
    """
    gpu = has_gpu() if compute.use_gpu is None else compute.use_gpu
    if compute.cpus_per_worker is not None or gpu or not starts_local_ray():
        return compute
    share = local_cores() // max(2 * compute.max_workers, compute.prediction_actors)
    return compute.model_copy(update={"cpus_per_worker": max(share, compute.worker_cpus)})


def training_resources(compute: ComputeConfig) -> AvailableResources:
    """Resources for all trainings of a job; Ray must be up. On a cluster, what the job asks for; else all of this machine, or
    what a Ray that the caller has started on it offers.

    CPUs, GPUs and memory are totals: what other programs use at the moment must not decide how a run trains.
    """
    import psutil
    import ray

    resources, gpu = ray.cluster_resources(), uses_gpu(compute)
    ray_cpus, gpus = int(resources.get("CPU", 0)), int(resources.get("GPU", 0))
    if not os.environ.get("RAY_ADDRESS"):
        memory = psutil.virtual_memory().total
        cpus = max(1, min(local_cores(), ray_cpus))
        return AvailableResources(cpus, gpus=gpus if gpu else None, memory=memory, ray_cpus=ray_cpus)
    workers = compute.max_workers * (compute.parallel_tasks or 1)
    cpus = max(1, min(workers * compute.worker_cpus, ray_cpus - DATA_CPUS))
    gpus = min(workers, int(offered("GPU")))
    return AvailableResources(cpus, gpus=gpus if gpu else None, ray_cpus=int(offered("CPU")))


def placement_of(compute: ComputeConfig, tasks: int) -> Placement:
    """The placement of so many trainings of one stage; Ray must be up."""
    return place(compute, tasks, training_resources(compute)) if tasks > 1 and goes_side_by_side(compute) else wide(compute)


def local_training_cpus(compute: ComputeConfig, tasks: int) -> int:
    """Logical CPUs of a local Ray for the workers of so many trainings. These only limit what runs at a time."""
    one = wide(compute).cost
    if tasks < 2 or not goes_side_by_side(compute):
        return one
    return max(one, compute.parallel_tasks or 1, min(local_cores(), tasks * one))


def check_compile(compute: ComputeConfig) -> None:
    """Raise ConfigError for a job that is to be compiled for the CPU of a machine without build tools, before Ray starts.

    A cluster's workers have other machines, and check for themselves.
    """
    if not compute.compile or os.environ.get("RAY_ADDRESS"):
        return
    from raykd.models import check_compiler

    check_compiler(on_gpu=compute.use_gpu)


def worker_bundles(workers: int, *, cpus: int, gpu: bool) -> list[Bundle]:
    """Bundles of the training workers and of Ray Data's tasks."""
    worker: Bundle = {"CPU": float(cpus)} | ({"GPU": 1.0} if gpu else {})
    return [worker] * workers + [{"CPU": float(DATA_CPUS)}]


def wait_for_resources(bundles: Sequence[Bundle], what: str, *, limit_s: float) -> None:
    """Wait until the cluster can hold all ``bundles``, which are requested from its autoscaler; without enough CPUs a run would
    hang.

    A local Ray started by this command cannot grow, so that there is no wait. Raises ResourceError that names the missing
    resources.
    """
    if _fits(bundles):
        return
    short = f"{what} need {_text(bundles)}, the cluster has {_nodes_text()}"
    most = _most()
    too_small = most is not None and any(
        most.get(name, 0) < sum(bundle.get(name, 0) for bundle in bundles) for name in _names(bundles)
    )
    if not os.environ.get("RAY_ADDRESS") or too_small:
        at_most = f" and may grow to {most}" if most else ""
        raise ResourceError(f"{short}{at_most}; lower compute.num_workers or compute.cpus_per_worker, or add nodes")
    log.warning("%s; waiting up to %.0f s for nodes", short, limit_s)
    _wait(bundles, limit_s)
    if not _fits(bundles):
        raise ResourceError(
            f"waited {limit_s:.0f} s (compute.start_timeout_s) for nodes: {what} need {_text(bundles)}, the cluster has "
            f"{_nodes_text()}; lower compute.num_workers or compute.cpus_per_worker, add nodes, or see the autoscaler's log"
        )


def _wait(bundles: Sequence[Bundle], limit_s: float) -> None:
    from ray.autoscaler.sdk import request_resources

    deadline = time.monotonic() + limit_s
    request_resources(bundles=[dict(bundle) for bundle in bundles])
    try:
        while not _fits(bundles) and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    finally:
        request_resources(bundles=[])  # a request lasts until the next one; workers and tasks ask for themselves


def _fits(bundles: Sequence[Bundle]) -> bool:
    """True when the nodes, if idle, can hold all bundles; the largest are placed first."""
    free = [dict(node["Resources"]) for node in alive_nodes()]
    for bundle in sorted(bundles, key=lambda bundle: sorted(bundle.values()), reverse=True):
        node = next((node for node in free if all(node.get(name, 0) >= value for name, value in bundle.items())), None)
        if node is None:
            return False
        for name, value in bundle.items():
            node[name] -= value
    return True


def _names(bundles: Sequence[Bundle]) -> list[str]:
    return sorted({name for bundle in bundles for name in bundle})


def _text(bundles: Sequence[Bundle]) -> str:
    return " and ".join(f"{sum(bundle.get(name, 0) for bundle in bundles):g} {name}s" for name in _names(bundles))


def _nodes_text() -> str:
    nodes = [node["Resources"] for node in alive_nodes()]
    total = sum(node.get("CPU", 0) for node in nodes)
    gpus = sum(node.get("GPU", 0) for node in nodes)
    each = f" ({', '.join(format(node.get('CPU', 0), 'g') for node in nodes)} on its nodes)" if len(nodes) > 1 else ""
    return f"{total:g}{each}{f' and {gpus:g} GPUs' if gpus else ''}"


def require_shared(folder: str) -> None:
    """Check that every node sees files that this one writes to ``folder``; otherwise results would be scattered.

    Raises ResourceError naming the nodes that do not. A node that leaves in the meantime is not asked.
    """
    nodes = alive_nodes()
    if not is_local(folder) or len(nodes) < 2:
        return
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    marker, token = storage.join(storage.absolute(folder), f".seen-{uuid.uuid4().hex}"), uuid.uuid4().hex
    look = ray.remote(num_cpus=0, max_retries=0)(sees)
    storage.write_bytes(marker, token.encode())
    try:
        answers = {
            node["NodeID"]: look.options(scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)).remote(
                marker, token
            )
            for node in nodes
        }
        ready, _ = ray.wait(list(answers.values()), num_returns=len(answers), timeout=ANSWER_SECONDS)
        silent = {node for node, answer in answers.items() if answer not in ready or not _result(answer)}
        blind = [node["NodeManagerAddress"] for node in alive_nodes() if node["NodeID"] in silent]
    finally:
        storage.remove(marker)
    if blind:
        raise ResourceError(
            f"storage = {folder} is not one folder for all nodes: {', '.join(blind)} did not see within {ANSWER_SECONDS} s "
            f"what {socket.gethostname()} wrote there. Mount a shared file system there on every node, or give "
            "an s3://, gs:// or hdfs:// address"
        )


def _result(answer: Any) -> bool:
    """A node's answer; False for a node that was lost meanwhile."""
    import ray

    try:
        return bool(ray.get(answer))
    except ray.exceptions.RayError:
        return False


def sees(marker: str, token: str) -> bool:
    """True when this node finds the marker with the token."""
    return bool(storage.exists(marker) and storage.read_bytes(marker).decode() == token)
