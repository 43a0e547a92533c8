"""A partition longer than Ray waits: the node is given up, the others work on, and a new node takes its place."""

import sys
import threading
from pathlib import Path

import pytest

from tests.cluster.drivers import ON_EACH_HOST, cluster_environment, seen_by
from tests.cluster.hosts import alive_nodes, hosts, ray_on, ray_start, refusal
from tests.cluster.processes import running, wait_until

pytestmark = pytest.mark.cluster

QUICK_HEALTH = {
    "RAY_health_check_initial_delay_ms": "1000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "1000",
    "RAY_health_check_failure_threshold": "5",
}
"""A node is given up after some 5-10 s, so that a partition too long for Ray takes no minutes of test."""


def test_a_long_partition_costs_the_node_and_a_new_one_joins(tmp_path: Path) -> None:
    reason = refusal()
    if reason:
        pytest.skip(reason)
    environment = {**cluster_environment(tmp_path), **QUICK_HEALTH}
    with hosts(3) as machines, ray_on(machines, environment) as nodes:
        head, last = machines[0], machines[-1]
        last.cut()
        mended = threading.Timer(90, last.mend)  # whatever happens below
        mended.start()
        try:
            wait_until(lambda: alive_nodes(head, environment) == 2, "the cut node to be given up")
        finally:
            mended.cancel()
            last.mend()
        # told that it was given up, the node ends itself instead of working on
        wait_until(lambda: nodes[-1].poll() is not None, "the node that was given up to end")
        driver = {**environment, "RAY_ADDRESS": f"{head.address}:6379"}
        done = head.call([sys.executable, "-c", ON_EACH_HOST], driver)
        assert done.returncode == 0, done.stderr
        assert set(seen_by(done.stdout)) == {host.address for host in machines[:2]}
        with running(ray_start(last, head, cpus=2), log=tmp_path / "again.log", env=environment):
            wait_until(lambda: alive_nodes(head, environment) == 3, "a new node on the same host")
