"""``raykd serve`` as a user runs it: a process that answers HTTP, loses a replica, and stops when it is told to."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import psutil
import pytest

from tests.served_answers import TEXTS, ask_all, local_answers, same
from tests.unit.serve.conftest import save_model

pytest.importorskip("fastapi", reason="the extra raykd[serve] is not installed")
pytestmark = pytest.mark.cluster
START_S = 180


@contextlib.contextmanager
def serving(student: str, environment: Mapping[str, str], log: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The command on a free port, from its first answer on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "raykd.cli", "serve", student, "--port", str(port)]
    with log.open("wb") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=stream, env=dict(environment))
    address, deadline = f"http://127.0.0.1:{port}", time.monotonic() + START_S
    try:
        while f"serving {student} on {address}" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)  # the command says that it answers, and signals nothing
        yield address, process
    finally:
        process.terminate()
        process.wait(60)


def test_a_server_answers_survives_a_replica_and_stops(
    small_world: Mapping[str, str], environment: Mapping[str, str], tmp_path: Path
) -> None:
    student, log = save_model(tmp_path / "student", small_world["student"]), tmp_path / "log"
    expected = local_answers(student, None, TEXTS)
    with serving(student, environment, log) as (address, process):
        children = psutil.Process(process.pid).children(recursive=True)

        async def kill() -> None:
            await asyncio.sleep(0.2)
            (replica,) = [one for one in children if "ServeReplica" in " ".join(one.cmdline())]
            os.kill(replica.pid, signal.SIGKILL)

        replies = asyncio.run(ask_all(address, [{"inputs": text} for text in TEXTS * 5], meanwhile=kill))
        assert {reply.status_code for reply in replies} == {200}
        for reply, one in zip(replies, expected * 5, strict=True):
            same(reply.json()[0], one)
        assert httpx.get(f"{address}/").text.startswith("<!doctype html>")
        assert "raykd_texts_total 300.0" in httpx.get(f"{address}/metrics").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0, log.read_text()
    assert "Traceback" not in log.read_text()
    _, alive = psutil.wait_procs(children, timeout=30)
    assert alive == []
