"""A storage path that every node has, and each its own of: an error before anything is prepared or trained."""

import sys
from pathlib import Path

import pytest

from tests.cluster.drivers import cluster_environment
from tests.cluster.hosts import hosts, ray_on, refusal
from tests.cluster.runs import World

pytestmark = pytest.mark.cluster


def test_a_folder_that_is_not_shared_is_refused(tmp_path: Path) -> None:
    reason = refusal()
    if reason:
        pytest.skip(reason)
    world = World.make(tmp_path)
    environment = cluster_environment(tmp_path)
    with hosts(2) as machines, ray_on(machines, environment):
        head, other = machines
        storage = head.temp / "runs"  # a folder of each host's own, at the same path
        driver = {**environment, "RAY_ADDRESS": f"{head.address}:6379"}
        done = head.call([sys.executable, "-m", "raykd.cli", "run", str(world.job), "--set", f"storage={storage}"], driver)
        assert done.returncode == 2, done.stderr
        assert f"{storage}/calm is not one folder for all nodes: {other.address} did not see" in done.stderr
        assert "shared file system" in done.stderr
        assert not (head.private / "runs" / "cache").exists()
