"""The fork server as a process: what its workers have, whom it refuses, and when it ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from raykd.fork_server import running_server, start_worker
from raykd.fork_server.running_server import (
    ForkServer,
    is_running,
    prepare_fork_server,
    stop_fork_server,
    use_fork_server,
)

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="workers are forked on Linux only")
OPEN_FILES = 1000
WORKER = """
    import json, os, random, resource, signal, sys, threading
    import numpy, ray, torch
    drawn = [ray.UniqueID.from_random().hex()]
    thread = threading.Thread(target=lambda: drawn.append(ray.UniqueID.from_random().hex()))
    thread.start()
    thread.join()
    with open(sys.argv[1], "w") as file:
        json.dump({
            "arguments": sys.argv, "folder": os.getcwd(), "environment": dict(os.environ), "parent": os.getppid(),
            "blocked": sorted(int(number) for number in signal.pthread_sigmask(signal.SIG_BLOCK, ())),
            "interrupt": signal.getsignal(signal.SIGINT) is signal.default_int_handler,
            "child": signal.getsignal(signal.SIGCHLD) == signal.SIG_DFL,
            "niceness": os.nice(0), "oom_score": open("/proc/self/oom_score_adj").read(), "threads": torch.get_num_threads(),
            "draws": [float(numpy.random.rand()), random.random(), *drawn], "name": __name__,
            "transformers": "transformers" in sys.modules, "group": os.getpgid(0) == os.getpid(),
            "open_files": resource.getrlimit(resource.RLIMIT_NOFILE)[0], "cuda": torch.cuda._is_in_bad_fork(),
        }, file)
    print("said", flush=True)
    print("complained", file=sys.stderr, flush=True)
    sys.exit(7)
"""


@pytest.fixture(scope="module")
def server() -> Iterator[ForkServer]:
    running = ForkServer({"MALLOC_ARENA_MAX": "1"})
    yield running
    running.stop()


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("program") / "worker.py"
    path.write_text(textwrap.dedent(WORKER))
    return str(path)


def start(settings: str, result: Path, *, niceness: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the program that starts a worker, as Ray does."""
    own = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    return subprocess.run(
        ["prlimit", f"--nofile={OPEN_FILES}", "nice", "-n", str(niceness), sys.executable, start_worker.__file__, str(result)],
        env={**own, **variables, start_worker.SETTINGS_VARIABLE: settings},
        cwd=result.parent, text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip


def read(result: Path) -> dict[str, Any]:
    """Content of the file that a worker writes."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if result.exists() and result.read_text().endswith("}"):
            found: dict[str, Any] = json.loads(result.read_text())
            return found
        time.sleep(0.05)
    raise AssertionError("no worker ran")


def test_a_worker_is_forked_with_the_imports_and_is_otherwise_like_one_that_ray_starts(
    server: ForkServer, program: str, tmp_path: Path
) -> None:
    done = start(server.settings(program), tmp_path / "first.json", niceness=3, OMP_NUM_THREADS="3", RAY_JOB_ID="01000000")
    assert (done.returncode, done.stdout, done.stderr) == (0, "said\n", "complained\n"), "both processes have these streams"
    worker = read(tmp_path / "first.json")
    assert worker["parent"] == server.pid
    assert worker["transformers"], "imported before the fork"
    assert worker["arguments"] == [program, str(tmp_path / "first.json")]
    assert worker["name"] == "__main__"
    assert worker["folder"] == str(tmp_path)
    assert worker["environment"]["MALLOC_ARENA_MAX"] == "1"
    assert worker["environment"]["RAY_JOB_ID"] == "01000000"
    assert (worker["threads"], worker["niceness"]) == (3, os.nice(0) + 3)
    assert worker["group"], "Ray ends a lost worker's children by their process group"
    assert worker["open_files"] == OPEN_FILES, "ray.init raises its limit after the server has started"
    assert worker["interrupt"]
    assert worker["child"]
    assert not worker["cuda"], "a fork of a process that has started CUDA cannot use it"
    assert worker["oom_score"] == Path("/proc/self/oom_score_adj").read_text()


def test_workers_draw_different_random_numbers(server: ForkServer, program: str, tmp_path: Path) -> None:
    for name in ("one.json", "two.json"):
        start(server.settings(program), tmp_path / name)
    one, two = (read(tmp_path / name)["draws"] for name in ("one.json", "two.json"))
    assert len({*one, *two}) == 8, "of numpy, of Python, and of Ray in the main thread and in another"


def test_a_worker_with_another_environment_makes_its_own_imports(server: ForkServer, program: str, tmp_path: Path) -> None:
    start(server.settings(program), tmp_path / "first.json")
    done = start(server.settings(program), tmp_path / "other.json", HF_HOME="/elsewhere")
    assert done.returncode == 7, "the process has become Ray's program"
    assert "makes its own imports: other values of HF_HOME" in done.stderr
    worker = read(tmp_path / "other.json")
    assert worker["parent"] != server.pid
    assert worker["environment"]["MALLOC_ARENA_MAX"] == "1"
    assert not worker["transformers"]


def test_rubbish_and_silence_do_not_end_the_server(server: ForkServer, program: str, tmp_path: Path) -> None:
    address = json.loads(server.settings(program))["socket"]
    for content in (b"\0", b"\xff" * 8, b"\0" * 7 + b"\4{]{]", b"\0" * 7 + b"\2{}", b"\0" * 7 + b"\2[]"):
        for streams in ([], [0, 1, 2]):
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
                connection.connect(address)
                socket.send_fds(connection, [content], streams)
    start(server.settings(program), tmp_path / "after.json")
    assert read(tmp_path / "after.json")["parent"] == server.pid


def test_a_process_that_no_longer_waits_is_not_started_twice(program: str, tmp_path: Path) -> None:
    server = ForkServer({})
    try:
        address = json.loads(server.settings(program))["socket"]
        arguments = [program, str(tmp_path / "early.json")]
        lines = (
            "from raykd.fork_server import start_worker; start_worker.ANSWER_S = 0.01; "
            f"start_worker.ask({address!r}, {arguments!r})"
        )
        subprocess.run([sys.executable, "-c", lines], check=True)
        start(server.settings(program), tmp_path / "late.json")
        assert read(tmp_path / "late.json")["arguments"][1] == str(tmp_path / "late.json")
        assert not (tmp_path / "early.json").exists()
    finally:
        server.stop()


def test_nobody_else_can_reach_the_socket(server: ForkServer, program: str) -> None:
    folder = Path(json.loads(server.settings(program))["socket"]).parent
    assert folder.stat().st_mode & 0o077 == 0


def test_without_a_server_a_worker_makes_its_own_imports(program: str, tmp_path: Path) -> None:
    settings = json.dumps({"socket": str(tmp_path / "gone"), "program": program, "environment": {}})
    done = start(settings, tmp_path / "alone.json")
    assert done.returncode == 7
    assert read(tmp_path / "alone.json")["arguments"] == [program, str(tmp_path / "alone.json")]


def test_a_server_ends_with_the_process_that_has_started_it_and_leaves_no_folder() -> None:
    lines = (
        "import time; from raykd.fork_server.running_server import ForkServer; server = ForkServer({}); "
        "print(server.pid, server.settings('program'), flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", lines], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        number, _, settings = parent.stdout.readline().partition(" ")
        forks, folder = psutil.Process(int(number)), Path(json.loads(settings)["socket"]).parent
        assert folder.exists()
        parent.send_signal(signal.SIGKILL)
    forks.wait(timeout=120)
    assert not folder.exists()


def test_a_server_is_stopped_while_it_imports() -> None:
    server = ForkServer({})
    assert psutil.pid_exists(server.pid)
    server.stop()
    assert server._process.returncode == -signal.SIGKILL
    assert not psutil.pid_exists(server.pid), "it does not finish its imports first: an error of a job's check waits for it"


def test_entries_of_the_path_that_are_no_text_and_modules_of_the_current_folder_are_no_obstacle(
    program: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(3)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, Path("src")])  # Python ignores it
    server = ForkServer({})
    try:
        start(server.settings(program), tmp_path / "worker.json")
        assert read(tmp_path / "worker.json")["parent"] == server.pid
    finally:
        server.stop()


def test_a_process_has_one_server_for_each_ray_and_stops_it() -> None:
    assert prepare_fork_server()
    try:
        assert is_running()
        first = use_fork_server()
        folder = Path(json.loads(first[start_worker.SETTINGS_VARIABLE])["socket"]).parent
        assert folder.exists()
        second = use_fork_server()
        assert second != first, "the first has the environment of the Ray that it was for"
        assert not folder.exists()
    finally:
        stop_fork_server()
    assert not is_running()
    stop_fork_server()


def test_a_server_that_has_ended_is_replaced() -> None:
    assert prepare_fork_server()
    try:
        running_server._Running.server._process.kill()  # type: ignore[union-attr]  # it was just started
        running_server._Running.server._process.wait()  # type: ignore[union-attr]  # as above
        assert not is_running()
        assert prepare_fork_server()
        assert is_running()
    finally:
        stop_fork_server()


def test_a_long_folder_for_temporary_files_is_no_obstacle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / ("long" * 20)))
    running = ForkServer({})
    try:
        assert json.loads(running.settings("program"))["socket"].startswith("/tmp/")
    finally:
        running.stop()
