"""One writer for a folder: refused while the holder lives, taken over when it is dead."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from raykd.data import folder_lock as module
from raykd.data.folder_lock import FolderLock, folder_lock
from raykd.errors import DataError, ResourceError

HOLD = """
import sys, time
from raykd.data.folder_lock import folder_lock
with folder_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(600)
"""


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "HEARTBEAT_SECONDS", 0.05)
    monkeypatch.setattr(module, "EXPIRY_SECONDS", 0.5)
    monkeypatch.setattr(module, "SETTLE_SECONDS", 0.05)


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()


def test_the_second_command_is_refused_with_the_first_ones_name(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(ResourceError, match=rf"by another command: process {holder.pid} on .*give this run another name"):
        FolderLock(str(tmp_path)).acquire()


def test_a_stopped_process_keeps_its_lock_and_a_killed_one_loses_it(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGSTOP)
    with pytest.raises(ResourceError, match="written by another command"):
        FolderLock(str(tmp_path)).acquire()
    holder.kill()
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)
    with folder_lock(str(tmp_path)):  # not even reaped yet
        assert json.loads((tmp_path / "lock.json").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "lock.json").exists()


def elsewhere(tmp_path: Path) -> Path:
    """A lock of a process on another machine."""
    with folder_lock(str(tmp_path)):
        content = json.loads((tmp_path / "lock.json").read_text())
    path = tmp_path / "lock.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**content, "machine": "other", "host": "node-7", "token": "theirs"}))
    return path


def test_a_holder_on_another_machine_is_alive_while_its_heartbeat_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = elsewhere(tmp_path / "run")
    sleep = time.sleep

    def beat(seconds: float) -> None:
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, "heartbeat": content["heartbeat"] + 1}))
        sleep(seconds)

    monkeypatch.setattr(module.time, "sleep", beat)
    with pytest.raises(ResourceError, match="on node-7"):
        FolderLock(str(tmp_path / "run")).acquire()


def test_a_node_that_is_gone_loses_its_lock(tmp_path: Path) -> None:
    elsewhere(tmp_path / "run")
    with folder_lock(str(tmp_path / "run")) as lock:
        lock.check()


def test_a_lock_that_was_taken_over_is_noticed_and_not_removed(tmp_path: Path) -> None:
    with folder_lock(str(tmp_path)) as lock:
        content = json.loads((tmp_path / "lock.json").read_text())
        (tmp_path / "lock.json").write_text(json.dumps({**content, "token": "theirs", "host": "node-7"}))
        time.sleep(0.5)  # several heartbeats
        with pytest.raises(ResourceError, match="on node-7"):
            lock.check()
    assert (tmp_path / "lock.json").exists(), "it is the other's"


@pytest.mark.parametrize("text", ["{", "{}", "[]", "3", '{"token": "theirs", "pid": 1}', "CUT"])
def test_a_lock_that_names_no_process_is_refused_with_the_remedy(tmp_path: Path, text: str) -> None:
    path = elsewhere(tmp_path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "heartbeat": "x"}) if text == "CUT" else text)
    with pytest.raises(DataError, match=r"lock\.json .*; remove it if an interrupted run left it incomplete"):
        FolderLock(str(tmp_path)).acquire()


def test_a_number_that_no_process_has_is_a_dead_one(tmp_path: Path) -> None:
    path = elsewhere(tmp_path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "machine": module._machine(), "pid": -1}))
    with folder_lock(str(tmp_path)) as lock:
        lock.check()


def test_a_folder_that_was_made_for_the_lock_alone_goes_with_it(tmp_path: Path) -> None:
    with folder_lock(str(tmp_path / "run")):
        pass
    assert not (tmp_path / "run").exists()
