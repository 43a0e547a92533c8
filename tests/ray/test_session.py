"""The local Ray that raykd starts, and what it asks of every node."""

import contextlib
import os
import socket
import subprocess
import sys
from functools import partial
from pathlib import Path

import psutil
import pytest
import ray

from raykd import cluster, local_ray, session
from raykd.errors import ModelError, ResourceError


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
def test_a_local_ray_has_no_dashboard_and_watches_no_cloud_provider() -> None:
    assert session.is_local_ray()
    commands = [" ".join(process.cmdline()) for process in psutil.Process().children(recursive=True)]
    assert not [command for command in commands if "ray-dashboard" in command], "a process for each of its parts"
    watched = ray.get(ray.remote(num_cpus=0)(lambda: os.environ.get("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER")).remote())
    assert watched == "0"
    assert "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER" not in os.environ, (
        "a cluster that this process joins later has nodes that leave"
    )


@pytest.mark.usefixtures("ray_session")
def test_workers_of_a_local_ray_have_the_priority_of_the_command() -> None:
    assert ray.get(ray.remote(num_cpus=0)(lambda: os.nice(0)).remote()) == os.nice(0)


@pytest.mark.usefixtures("ray_session")
def test_ray_prints_no_message_of_its_own_below_the_last_line_of_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    from ray._private import worker

    message = {"lines": ["A worker died or was killed while executing a task"], "pid": "raylet", "is_err": False}
    worker.print_to_stdstream(message, ignore_prefix=False)  # as Ray's listener of errors does, in a thread
    assert capsys.readouterr() == ("", "")


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


START = """
from raykd.errors import RaykdError
from raykd.session import start_ray
try:
    start_ray(num_cpus=1)
except RaykdError as error:
    print(error)
else:
    import os, ray
    folder = ray.get(ray.remote(num_cpus=1)(lambda: os.environ.get("TMPDIR")).remote())
    print("a task ran in", folder, ray._private.worker._global_node.get_temp_dir_path())
    print(*sorted(actor["name"] for actor in ray.util.list_named_actors(all_namespaces=True)))
    print("port of the agent", ray._private.worker._global_node.dashboard_agent_listen_port)
"""
FORKED = """
import os, signal, sys, psutil, ray
from raykd.fork_server.running_server import _Running
from raykd.session import prepare_ray, start_ray, stop_ray

@ray.remote(num_cpus=0)
class Worker:
    def parent(self):
        return os.getppid()
    def process(self):
        return os.getpid()
    def imports(self):
        return "transformers" in sys.modules, ray.get_runtime_context().get_job_id()

assert prepare_ray()
start_ray(num_cpus=1)
assert not prepare_ray(), "Ray runs"
forks = _Running.server.pid
workers = [Worker.remote() for _ in range(3)]
assert {ray.get(one.parent.remote()) for one in workers} == {forks}
assert {ray.get(one.imports.remote()) for one in workers} == {(True, ray.get_runtime_context().get_job_id())}
other = Worker.options(runtime_env={"env_vars": {"HF_HOME": "/elsewhere"}}).remote()
assert ray.get(other.parent.remote()) != forks, "its imports may read the variable"
ray.kill(workers[0])
os.kill(forks, signal.SIGKILL)
later = Worker.remote()
assert ray.get(later.parent.remote()) != forks, "it makes its own imports"
assert ray.get(workers[1].parent.remote()) != forks, "those that were forked go on"
ours = [psutil.Process(ray.get(one.process.remote())) for one in (workers[1], later)]
stop_ray()
for process in ours:
    process.wait(timeout=60)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
def test_workers_are_forked_and_a_lost_fork_server_is_no_fault() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    subprocess.run([sys.executable, "-c", FORKED], env=environment, timeout=240, check=True)


def started(**variables: str) -> str:
    """Output of :data:`START` in an environment without tokens and clusters."""
    names = ("RAY_ADDRESS", "RAY_TMPDIR", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE")
    environment = {name: value for name, value in os.environ.items() if name not in names} | variables
    done = subprocess.run(
        [sys.executable, "-c", START], env=environment, capture_output=True, text=True, timeout=120, check=True
    )
    return done.stdout


def test_a_home_that_cannot_be_written_and_a_long_folder_for_temporary_files_are_no_obstacle(tmp_path: Path) -> None:
    """Ray keeps a token in the home and sockets in the folder; a file in the home's place refuses root too."""
    (tmp_path / "home").write_text("")
    long = tmp_path / ("long" * 20)
    long.mkdir()
    ran, actors, _ = started(HOME=str(tmp_path / "home"), TMPDIR=str(long)).splitlines()
    assert ran == "a task ran in /tmp /tmp/ray"
    assert actors == "AutoscalingCoordinator datasets_stats_actor", "they start before a training needs them"
    assert not list(long.glob("ray*"))  # nor do Ray's processes try to open sockets there, and wait a minute for them


@pytest.mark.usefixtures("ray_session")
def test_a_second_ray_of_a_machine_does_not_wait_for_a_port_of_the_first() -> None:
    """Its agent tried the port that it has by default for 3.4 s, and gave up (-1)."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):  # another Ray has it
            taken.bind(("127.0.0.1", 52365))
            taken.listen()
        port = int(started().splitlines()[-1].rpartition(" ")[2])
    assert port not in (-1, 52365)


def test_a_folder_that_ray_was_given_and_is_too_long_is_an_error_that_names_it(tmp_path: Path) -> None:
    said = started(RAY_TMPDIR=str(tmp_path / ("long" * 30)))
    assert said.startswith("Ray does not start on this machine: RAY_TMPDIR = ")
    assert "set RAY_TMPDIR to a folder with a shorter path" in said


def test_a_ray_that_does_not_start_is_an_error_with_its_reason() -> None:
    said = started(RAY_TMPDIR="/dev/null")
    assert said.startswith("Ray does not start on this machine: ")
    assert "Not a directory" in said
    assert "; make that path writable, or set RAY_TMPDIR" in said


@pytest.mark.parametrize(
    ("address", "reason", "advice"),
    [
        ("local", "[Errno 13] Permission denied: '/home/me/.ray'", "make that path writable, or set RAY_TMPDIR"),
        ("local", "[Errno 20] Not a directory: '/home/me/.ray'", "make that path writable"),
        ("local", "[Errno 28] No space left on device: '/tmp/ray'", "free space there"),
        ("local", "AF_UNIX path length cannot exceed 107 bytes", "set RAY_TMPDIR to a folder with a shorter path"),
        ("local", "The current node timed out during startup", "end what else keeps the machine busy"),
        ("local", "something new", "its log files are in ray/session_latest/logs"),
        ("head:6379", "Version mismatch:\n    Ray: 2.1\n    Python: 3.9", "install the versions of the cluster here"),
        ("head:6379", "Authentication token is missing", "set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"),
        ("head:6379", "[Errno 111] Connection refused", "check RAY_ADDRESS and that the cluster is up"),
        ("head:6379", "something new", "check RAY_ADDRESS, or unset it"),
    ],
)
def test_the_advice_fits_the_reason(address: str, reason: str, advice: str) -> None:
    said = session._no_ray(address, RuntimeError(reason))
    assert " ".join(reason.split()) in said
    assert f"; {advice}" in said


def test_a_cluster_where_nothing_listens_is_an_error_at_once() -> None:
    """Ray itself would try for twelve minutes."""
    said = started(RAY_ADDRESS="127.0.0.1:1")
    assert said.startswith("cannot connect to Ray at 127.0.0.1:1: [Errno 111] Connection refused; check RAY_ADDRESS")


@pytest.mark.parametrize(
    ("variables", "kept"),
    [
        ({"RAY_AUTH_TOKEN": "mine"}, "mine"),
        ({"RAY_AUTH_TOKEN_PATH": "/some/file"}, None),
        ({"RAY_AUTH_MODE": "disabled"}, None),
        ({}, "made"),
    ],
)
def test_a_token_is_made_only_where_there_is_none_and_none_can_be_kept(
    variables: dict[str, str], kept: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.setenv(name, "")  # so that what is set now is put back
        monkeypatch.delenv(name)
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    local_ray.provide_token()
    found = os.environ.get("RAY_AUTH_TOKEN")
    assert (found is not None and len(found) == 64) if kept == "made" else found == kept
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    local_ray.provide_token()
    assert "RAY_AUTH_TOKEN" not in os.environ, "Ray keeps one in the home"


def _raise_a_model_error() -> None:
    raise ModelError("models/teacher: unusable")


def _end_the_process() -> None:
    os._exit(1)


def _write_threads(path: str) -> None:
    import torch

    Path(path).write_text(f"{os.getpid()} {torch.get_num_threads()}")


@pytest.mark.usefixtures("ray_session")
def test_a_call_in_a_worker_raises_what_it_raises_and_leaves_no_process(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="models/teacher: unusable"):
        session.call_in_worker(_raise_a_model_error)()
    with pytest.raises(ResourceError, match="was lost, mostly for want of memory"):
        session.call_in_worker(_end_the_process)()
    session.call_in_worker(partial(_write_threads, str(tmp_path / "threads")))()
    number, threads = (tmp_path / "threads").read_text().split()
    assert int(threads) == local_ray.local_cores()
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(int(number)).wait(timeout=60)


@pytest.mark.usefixtures("ray_session")
def test_a_call_on_models_is_made_where_their_imports_are() -> None:
    assert (session.call_on_models(os.getpid) == os.getpid()) is (not session.is_running())


def test_a_call_on_models_without_ray_is_made_here(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "is_running", lambda: True)
    monkeypatch.setattr(session, "is_local_ray", lambda: False)
    assert session.call_on_models(os.getpid) == os.getpid()


def test_a_ray_that_does_not_start_leaves_no_fork_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(session, "_init_ray", lambda *_: (_ for _ in ()).throw(ResourceError("no space left")))
    used = {"RAYKD_START_WORKER": "{}"}
    stopped = []
    monkeypatch.setattr(session, "use_fork_server", lambda: used)
    monkeypatch.setattr(session, "stop_fork_server", lambda: stopped.append(True))
    with pytest.raises(ResourceError, match="no space left"):
        session.start_ray(num_cpus=1)
    assert stopped == [True]
