"""One writer for a folder, local or on an object store: ``lock.json`` names the holder, whose heartbeat keeps it valid.

A lock ends with its process: on the same machine a dead process is recognised by its id and start time, on another one by a
heartbeat that stays away. Heartbeats are counted, never dated, so that clocks need not agree.
"""

import contextlib
import itertools
import logging
import os
import platform
import socket
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from raykd.data import storage
from raykd.data.file_systems import is_local
from raykd.errors import DataError, ResourceError

log = logging.getLogger(__name__)

LOCK = "lock.json"
HEARTBEAT_SECONDS = 3.0
"""Interval of the holder's heartbeats."""
EXPIRY_SECONDS = 30.0
"""Time without a heartbeat after which the holder on another machine counts as dead."""
SETTLE_SECONDS = 1.0
"""Time between writing a lock and reading it back: of several that write at once the last one holds it."""
_TYPES = {
    "host": str,
    "machine": str,
    "pid": int,
    "started": int | float,
    "command": str,
    "token": str,
    "heartbeat": int,
}
"""Content of a lock."""


class FolderLock:
    """The lock of one folder, held by this process."""

    def __init__(self, folder: str) -> None:
        self.path = storage.join(folder, LOCK)
        self._content: dict[str, Any] = {**_this_process(), "token": uuid.uuid4().hex, "heartbeat": 0}
        self._lost: str | None = None
        self._released = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="raykd-folder-lock", daemon=True)

    def acquire(self) -> None:
        """Take the lock. Raises ResourceError naming the process that holds it."""
        if not self._create():
            holder = _read(self.path)
            if holder is not None and _is_alive(self.path, holder):
                raise ResourceError(
                    f"{os.path.dirname(self.path)} is being written by another command: {_text(holder)}; wait until it has "
                    "ended, stop it, or give this run another name"
                )
            self._write()
            self._settle()
        self._thread.start()

    def check(self) -> None:
        """Raise ResourceError when another process has taken the lock since, for example while this machine was asleep."""
        if self._lost is not None:
            raise ResourceError(
                f"{os.path.dirname(self.path)} is being written by another command since this one gave no sign of life: "
                f"{self._lost}; this command ends, so that two do not write one folder"
            )

    def release(self) -> None:
        """Give the lock back, unless another process has it."""
        self._released.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._lost is None and (holder := _read(self.path)) is not None and self._is_mine(holder):
            storage.remove(self.path)
            if is_local(self.path):
                with contextlib.suppress(OSError):  # it holds something else, as it should
                    os.rmdir(os.path.dirname(_local(self.path)))

    def _create(self) -> bool:
        """Write the lock where there is none. Returns whether it is held now."""
        if not is_local(self.path):
            if _read(self.path) is not None:
                return False
            self._write()
            self._settle()
            return True
        aside = f"{self.path}.{self._content['token']}"
        storage.write_json(aside, self._content)
        try:
            os.link(_local(aside), _local(self.path))  # atomic, also on network file systems
        except FileExistsError:
            return False
        except OSError:  # a file system without links
            self._write()
            self._settle()
        finally:
            storage.remove(aside)
        return True

    def _settle(self) -> None:
        time.sleep(SETTLE_SECONDS)  # another command may have written its lock at the same moment
        holder = _read(self.path)
        if holder is not None and not self._is_mine(holder):
            raise ResourceError(f"{os.path.dirname(self.path)} is being written by another command: {_text(holder)}")

    def _write(self) -> None:
        storage.write_json(self.path, self._content)

    def _is_mine(self, holder: dict[str, Any]) -> bool:
        return bool(holder["token"] == self._content["token"])

    def _keep(self) -> None:
        """Renew the heartbeat until the lock is released or taken over."""
        while not self._released.wait(HEARTBEAT_SECONDS):
            try:
                holder = _read(self.path)
                if holder is not None and not self._is_mine(holder):
                    self._lost = _text(holder)
                    return
                self._content["heartbeat"] += 1
                self._write()
            except (DataError, ResourceError):  # a store that is away for a moment; the next heartbeat may reach it
                continue


@contextmanager
def folder_lock(folder: str) -> Iterator[FolderLock]:
    """Hold a folder's lock inside the block. Raises ResourceError naming the process that holds it."""
    lock = FolderLock(folder)
    lock.acquire()
    try:
        yield lock
    finally:
        lock.release()


def _is_alive(path: str, holder: dict[str, Any]) -> bool:
    """True when the holder is alive; a holder on another machine is watched until its next heartbeat or the expiry."""
    if holder["machine"] == _machine():
        try:
            process = psutil.Process(holder["pid"])
            same = abs(process.create_time() - holder["started"]) < 1.0
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except (psutil.NoSuchProcess, ValueError):  # the latter: a number below 0
            return False
    log.warning("%s has a lock of %s; waiting up to %.0f s for a sign of life", path, _text(holder), EXPIRY_SECONDS)
    deadline = time.monotonic() + EXPIRY_SECONDS
    while time.monotonic() < deadline:
        time.sleep(min(1.0, HEARTBEAT_SECONDS))  # a living holder renews its lock within HEARTBEAT_SECONDS
        now = _read(path)
        if now is None:
            return False
        if (now["token"], now["heartbeat"]) != (holder["token"], holder["heartbeat"]):
            return True
    return False


def _read(path: str) -> dict[str, Any] | None:
    """The lock's content; ``None`` without one. Raises DataError for a file that is no lock."""
    try:
        content = storage.read_json(path)
    except DataError:
        if storage.exists(path):
            raise
        return None
    if not isinstance(content, dict) or not all(isinstance(content.get(key), kind) for key, kind in _TYPES.items()):
        raise DataError(f"{path} does not name a process; remove it if an interrupted run left it incomplete")
    return content


def _text(holder: dict[str, Any]) -> str:
    return f"process {holder['pid']} on {holder['host']} ({holder['command']})"


def _this_process() -> dict[str, Any]:
    words = itertools.takewhile(lambda word: not word.startswith("-"), sys.argv[1:])  # flags may hold secrets
    command = " ".join([os.path.basename(sys.argv[0]), *itertools.islice(words, 2)])
    return {
        "host": socket.gethostname(),
        "machine": _machine(),
        "pid": os.getpid(),
        "started": psutil.Process().create_time(),
        "command": command,
    }


def _machine() -> str:
    """Identity of this boot of the machine and of the space in which process ids are unique (a container has its own)."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            boot = file.read().strip()
        space = os.readlink("/proc/self/ns/pid")
    except OSError:  # not Linux
        boot, space = platform.node(), ""
    return f"{boot} {space}".strip()


def _local(path: str) -> str:
    return path.removeprefix("file://")
