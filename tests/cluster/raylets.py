"""Several raylets on one machine as the nodes of a cluster, which come, go, and are drained."""

import contextlib
import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.cluster.processes import MARK, marked, wait_until

STORE_BYTES = 100 * 1024**2


@dataclass
class Raylets:
    """A head without CPUs, and nodes of one CPU each."""

    cluster: Any
    mark: str
    nodes: list[Any] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        """Variables that make a command a driver of this cluster."""
        return {"RAY_ADDRESS": self.cluster.address, "RAYKD_CLUSTER_MARK": self.mark}

    def add(self) -> Any:
        """One more node."""
        node = self.cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES)
        self.nodes.append(node)
        return node

    def remove(self, node: Any) -> None:
        """SIGKILL to all of its processes."""
        self.nodes.remove(node)
        self.cluster.remove_node(node, allow_graceful=False)

    def restore(self, count: int) -> None:
        """So many nodes again, whatever a test has done to them."""
        while len(self.nodes) > count:
            self.remove(self.nodes[-1])
        while len(self.nodes) < count:
            self.add()

    def node_of(self, process: psutil.Process) -> Any:
        """The node that a Ray process belongs to."""
        ancestors = {parent.pid for parent in process.parents()}
        for node in self.nodes:
            if ancestors & {info.process.pid for infos in node.all_processes.values() for info in infos}:
                return node
        raise AssertionError(f"{process} is on none of the nodes")

    def drain(self, node: Any, seconds: int) -> None:
        """Announce that the node goes in so many seconds, as a cloud does before it takes a spot machine."""
        from ray._raylet import GcsClient
        from ray.core.generated import autoscaler_pb2

        deadline_ms = int((time.time() + seconds) * 1000)
        reason = autoscaler_pb2.DrainNodeReason.Value("DRAIN_NODE_REASON_PREEMPTION")
        accepted, message = GcsClient(address=self.cluster.address).drain_node(
            node.node_id, reason, "a spot machine is taken back", deadline_ms
        )
        assert accepted, message


@contextlib.contextmanager
def raylets(count: int) -> Iterator[Raylets]:
    """A cluster of ``count`` nodes; at the end all its processes are gone."""
    from ray.cluster_utils import Cluster

    mark = uuid.uuid4().hex
    before = os.environ.get(MARK)
    os.environ[MARK] = mark  # the nodes' processes inherit it
    temp = Path(tempfile.mkdtemp(prefix="rk-", dir="/tmp"))
    try:
        cluster = Cluster(
            initialize_head=True,
            head_node_args={
                "num_cpus": 0,
                "object_store_memory": STORE_BYTES,
                "temp_dir": str(temp),
                "include_dashboard": False,
            },
        )
        made = Raylets(cluster, mark)
        for _ in range(count):
            made.add()
        yield made
        cluster.shutdown()
    finally:
        del os.environ[MARK]
        if before is not None:
            os.environ[MARK] = before
        for process in marked(mark):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        wait_until(lambda: not marked(mark), "the cluster's processes to end", 30)
        shutil.rmtree(temp, ignore_errors=True)
