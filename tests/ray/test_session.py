"""The local Ray that raykd starts, and what it asks of every node."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import ray

from raykd import cluster
from raykd.errors import ResourceError


@pytest.mark.usefixtures("ray_session")
def test_a_local_ray_and_its_workers_listen_on_the_loopback_only() -> None:
    @ray.remote(num_cpus=0)
    class Worker:
        def ready(self) -> bool:
            return True

    worker = Worker.remote()
    assert ray.get(worker.ready.remote())
    this = psutil.Process()
    listening = {
        (process.name(), socket.laddr.ip.removeprefix("::ffff:"))
        for process in [this, *this.children(recursive=True)]
        for socket in process.net_connections("inet")
        if socket.status == psutil.CONN_LISTEN
    }
    assert {"gcs_server", "raylet"} <= {name for name, _ in listening}
    assert {address for _, address in listening} <= {"127.0.0.1", "::1"}, listening


@pytest.mark.usefixtures("ray_session")
def test_a_local_ray_gathers_no_metrics_that_nobody_reads() -> None:
    assert [node["MetricsExportPort"] for node in ray.nodes()] == [-1]


@pytest.mark.usefixtures("ray_session")
@pytest.mark.parametrize("left", [True, False])
def test_a_node_that_leaves_while_it_is_asked_for_a_shared_folder_is_no_fault(
    left: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    real = cluster.alive_nodes()
    lost = {"NodeID": "0" * 55 + "1", "NodeManagerAddress": "192.0.2.9"}  # nothing can be placed there
    answers = iter([[*real, lost], real if left else [*real, lost]])
    monkeypatch.setattr(cluster, "alive_nodes", lambda: next(answers))
    with (
        contextlib.nullcontext() if left else pytest.raises(ResourceError, match=r"not one folder .* 192\.0\.2\.9 did not see")
    ):
        cluster.require_shared(str(tmp_path / "runs"))
    assert not list((tmp_path / "runs").iterdir()), "the marker is gone"


def test_a_ray_that_does_not_start_is_an_error_with_its_reason(tmp_path: Path) -> None:
    """A folder whose path is too long for the sockets in it stands for what keeps Ray's processes from starting."""
    code = "from raykd.errors import RaykdError\nfrom raykd.session import start_ray\ntry:\n    start_ray()\n"
    code += "except RaykdError as error:\n    print(error)"
    environment = {**os.environ, "RAY_TMPDIR": str(tmp_path / ("long" * 30))}
    environment.pop("RAY_ADDRESS", None)
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    assert done.stdout.startswith("Ray does not start on this machine: ")
    assert "107 bytes" in done.stdout
    assert "set RAY_ADDRESS to a cluster's" in done.stdout


def test_a_cluster_that_cannot_be_joined_is_an_error_with_all_of_its_reason(tmp_path: Path) -> None:
    """Ray says on several lines which versions do not fit, and would try for twelve minutes where nothing listens."""
    code = "from raykd import session\nfrom raykd.errors import RaykdError\n"
    code += "print(session._no_ray('head:6379', RuntimeError('Version mismatch:\\n    Ray: 2.1\\n    Python: 3.9')))\n"
    code += "try:\n    session.start_ray()\nexcept RaykdError as error:\n    print(error)"
    environment = {**os.environ, "RAY_ADDRESS": "127.0.0.1:1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    mismatch, unreachable = done.stdout.splitlines()
    assert mismatch.startswith("cannot connect to Ray at head:6379: Version mismatch: Ray: 2.1 Python: 3.9; check RAY_ADDRESS")
    assert unreachable.startswith("cannot connect to Ray at 127.0.0.1:1: [Errno 111] Connection refused; check RAY_ADDRESS")
