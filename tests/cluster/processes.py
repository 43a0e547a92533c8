"""Real processes for tests: started with a mark of their own in the environment, and ended by that mark, children and all."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil

from tests.cluster.terminals import Terminal

MARK = "RAYKD_TEST_MARK"


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nothing listens on, below the range that the kernel hands out to clients (from 32768)."""
    found: list[int] = []
    candidate = 20000 + os.getpid() % 500 * 20
    while len(found) < count:
        candidate = candidate + 1 if candidate < 32000 else 20000
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.bind(("127.0.0.1", candidate))
            found.append(candidate)
    return found


def wait_until(condition: Callable[[], bool], what: str, limit_s: float = 120, poll_s: float = 0.5) -> None:
    """Poll until the condition holds; AssertionError naming what was waited for otherwise."""
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit_s:g} s for {what}")
        time.sleep(poll_s)


@contextlib.contextmanager
def running(
    command: Sequence[str], *, log: Path, env: Mapping[str, str], terminal: Terminal | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A process in a session of its own, its output in ``log``; at the end it and everything it started are gone.

    With a terminal, that is its controlling terminal, and ``log`` stays empty. Where util-linux is, it is asked to end also
    when this process is killed and cannot see to it.
    """
    mark = uuid.uuid4().hex
    tied = ["setpriv", "--pdeathsig", "TERM"] if shutil.which("setpriv") else []
    with log.open("ab") as output:
        streams: dict[str, Any] = {"stdout": output, "stderr": subprocess.STDOUT} if terminal is None else terminal.streams
        process = subprocess.Popen([*tied, *command], **streams, env={**env, MARK: mark}, start_new_session=True)
    try:
        yield process
    finally:
        end(process, mark)


def end(process: subprocess.Popen[bytes], mark: str, grace_s: float = 5) -> None:
    """SIGTERM to the process, then SIGKILL to whatever bears its mark."""
    process.send_signal(signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(grace_s)
    deadline = time.monotonic() + 30
    while left := marked(mark):
        for one in left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(left, timeout=5)
        assert time.monotonic() < deadline, f"cannot end {left}"
    process.wait()


def marked(mark: str) -> list[psutil.Process]:
    """Processes that were started, directly or not, with this mark."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found
