"""The local Ray that raykd starts."""

import psutil
import pytest
import ray


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
