"""Resources that fit a cluster, and waits for nodes; the cluster's own answers are given here."""

import logging
from pathlib import Path
from typing import Any

import pytest
import ray.autoscaler.sdk

from raykd import cluster
from raykd.config import ComputeConfig
from raykd.errors import ConfigError, ResourceError
from raykd.placement import AvailableResources, Placement, place

TWO = cluster.worker_bundles(2, cpus=2, gpu=True)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The nodes that are up; requests to the autoscaler add one."""
    up = [node(CPU=4.0)]
    monkeypatch.setattr(cluster, "alive_nodes", lambda: up)
    monkeypatch.setattr(cluster, "_most", lambda: None)
    monkeypatch.setattr(cluster, "POLL_SECONDS", 0.001)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return up


def node(**resources: float) -> dict[str, Any]:
    return {"Resources": resources, "Alive": True}


def test_bundles_lie_on_one_node_each(nodes: list[dict[str, Any]]) -> None:
    three = cluster.worker_bundles(1, cpus=3, gpu=False)
    cluster.wait_for_resources(three, "workers", limit_s=0)
    nodes[:] = [node(CPU=2.0), node(CPU=2.0)]  # four CPUs, but a worker of three fits neither
    with pytest.raises(ResourceError, match=r"workers need 4 CPUs, the cluster has 4 \(2, 2 on its nodes\)"):
        cluster.wait_for_resources(three, "workers", limit_s=0)


def test_only_a_machine_that_trains_itself_is_asked_for_a_compiler(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, nodes: list[dict[str, Any]]
) -> None:
    monkeypatch.setenv("CXX", str(tmp_path / "absent"))
    cluster.check_compile(ComputeConfig(use_gpu=False))
    with pytest.raises(ConfigError, match=r"compute\.compile = true on a CPU needs a C\+\+ compiler \(.*absent"):
        cluster.check_compile(ComputeConfig(use_gpu=False, compile=True))
    monkeypatch.setenv("RAY_ADDRESS", "ray-head:6379")
    cluster.check_compile(ComputeConfig(use_gpu=False, compile=True))


def test_a_ray_of_its_own_is_not_waited_for(nodes: list[dict[str, Any]]) -> None:
    with pytest.raises(ResourceError, match=r"workers need 5 CPUs and 2 GPUs, the cluster has 4; lower compute\.num_workers"):
        cluster.wait_for_resources(TWO, "workers", limit_s=1e9)


def test_an_autoscaler_is_asked_and_waited_for(
    nodes: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked: list[list[dict[str, float]]] = []

    def request(bundles: list[dict[str, float]]) -> None:
        asked.append(bundles)
        if bundles:
            nodes.append(node(CPU=8.0, GPU=2.0))

    monkeypatch.setattr(ray.autoscaler.sdk, "request_resources", request)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with caplog.at_level(logging.WARNING):
        cluster.wait_for_resources(TWO, "workers", limit_s=100)
    assert asked == [[{"CPU": 2.0, "GPU": 1.0}, {"CPU": 2.0, "GPU": 1.0}, {"CPU": 1.0}], []]
    assert "workers need 5 CPUs and 2 GPUs, the cluster has 4; waiting up to 100 s for nodes" in caplog.text


def test_a_wait_has_an_end_that_says_what_it_was_for(nodes: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray.autoscaler.sdk, "request_resources", lambda bundles: None)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    with pytest.raises(ResourceError, match=r"waited 0 s \(compute.start_timeout_s\) for nodes: workers need 5 CPUs"):
        cluster.wait_for_resources(TWO, "workers", limit_s=0.01)


def test_what_an_autoscaler_may_never_reach_is_not_waited_for(
    nodes: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    monkeypatch.setattr(cluster, "_most", lambda: {"CPU": 64, "GPU": 1})
    with pytest.raises(ResourceError, match=r"may grow to \{'CPU': 64, 'GPU': 1\}"):
        cluster.wait_for_resources(TWO, "workers", limit_s=1e9)


def test_gpus_count_that_the_autoscaler_could_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 4.0})
    monkeypatch.setattr(cluster, "_most", lambda: {"GPU": 8})
    assert cluster.offered("GPU") == 8
    assert cluster.offered("TPU") == 0


@pytest.fixture
def resources(monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """Resources that Ray reports, on a machine of four cores."""
    found = {"CPU": 32.0}
    monkeypatch.setattr(ray, "cluster_resources", lambda: found)
    monkeypatch.setattr(cluster, "_most", lambda: None)
    monkeypatch.setattr(cluster, "local_cores", lambda: 4)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    return found


def test_a_local_run_has_the_whole_machine_and_its_gpus(resources: dict[str, float]) -> None:
    available = cluster.training_resources(ComputeConfig())
    assert (available.cpus, available.gpus) == (4, None), "cores, not Ray's logical CPUs"
    assert available.memory is not None
    assert cluster.placement_of(ComputeConfig(parallel_tasks=3), 7) == Placement(3, 1, 1)
    resources["GPU"] = 2.0
    assert cluster.training_resources(ComputeConfig()).gpus == 2
    assert cluster.placement_of(ComputeConfig(), 7) == Placement(2, 1, 1)
    assert cluster.training_resources(ComputeConfig(use_gpu=False)).gpus is None


def test_a_worker_has_half_of_the_cores_of_a_machine_that_ray_is_to_start_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """A teacher trained on one thread of any machine."""
    monkeypatch.setattr(cluster, "local_cores", lambda: 16)
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(cluster, "has_gpu", lambda: False)

    def cpus(**compute: object) -> int:
        return cluster.with_worker_cpus(ComputeConfig.model_validate(compute)).worker_cpus

    assert cpus() == 8
    assert cpus(num_workers=3) == 2
    assert cpus(num_workers=[1, 4]) == 2
    assert cpus(num_workers=40) == 1
    assert cpus(cpus_per_worker=3) == 3
    assert cpus(prediction_actors=8) == 2, "scoring has no more threads than cores"
    assert cpus(threads=12) == 12
    assert cpus(use_gpu=True) == 1, "workers with a GPU compute little here, and more of them fit"
    local = cluster.with_worker_cpus(ComputeConfig())
    assert place(local, 6, AvailableResources(16)) == Placement(6, 1, 2), "students share all cores"
    teacher, student = place(local, 1, AvailableResources(16)), place(local, 6, AvailableResources(16))
    assert AvailableResources(16).holds([teacher, *[student] * 4]), "students that need no teacher have the other half"
    monkeypatch.setattr(cluster, "has_gpu", lambda: True)
    assert (cpus(), cpus(use_gpu=False)) == (1, 8)
    monkeypatch.setattr(cluster, "has_gpu", lambda: False)
    monkeypatch.setattr(ray, "is_initialized", lambda: True)
    assert cpus() == 1, "a Ray of the caller may have fewer CPUs"
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cpus() == 1


def test_a_ray_of_the_caller_trains_no_more_at_a_time_than_its_cpus_allow(resources: dict[str, float]) -> None:
    """Trainings beyond them waited for ever for CPUs that idle ones kept."""
    resources["CPU"] = 3.0
    assert cluster.training_resources(ComputeConfig()).cpus == 3
    assert cluster.placement_of(ComputeConfig(), 7) == Placement(3, 1, 1)
    assert cluster.placement_of(ComputeConfig(parallel_tasks=4), 7) == Placement(3, 1, 1)
    resources["GPU"] = 8.0
    assert cluster.placement_of(ComputeConfig(), 8) == Placement(3, 1, 1)
    assert cluster.placement_of(ComputeConfig(cpus_per_worker=2, num_workers=4, parallel_tasks=2), 8) == Placement(2, 1, 1)


def test_a_cluster_gives_what_the_job_asks_for(resources: dict[str, float], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert cluster.training_resources(ComputeConfig(num_workers=4, cpus_per_worker=2)) == AvailableResources(8, ray_cpus=32)
    assert cluster.placement_of(ComputeConfig(), 7) == Placement(1, 1, 1), "one worker was asked for"
    assert cluster.placement_of(ComputeConfig(num_workers=4), 7) == Placement(4, 1, 1)
    assert cluster.placement_of(ComputeConfig(num_workers=4, parallel_tasks=3), 7) == Placement(3, 4, 1)
    assert cluster.training_resources(ComputeConfig(num_workers=8, parallel_tasks=9)) == AvailableResources(31, ray_cpus=32), (
        "a CPU stays for Ray Data"
    )
    assert cluster.placement_of(ComputeConfig(parallel_tasks=40), 50) == Placement(32, 1, 1)
    monkeypatch.setattr(cluster, "_most", lambda: {"CPU": 64})
    assert cluster.placement_of(ComputeConfig(parallel_tasks=40), 50) == Placement(40, 1, 1), "its autoscaler adds nodes"


def test_a_local_ray_has_cpus_for_the_trainings_that_run_at_once(resources: dict[str, float]) -> None:
    assert cluster.local_training_cpus(ComputeConfig(), 7) == 4
    assert cluster.local_training_cpus(ComputeConfig(), 1) == 1
    assert cluster.local_training_cpus(ComputeConfig(placement="wide", num_workers=2), 7) == 2
    assert cluster.local_training_cpus(ComputeConfig(parallel_tasks=6), 7) == 6
