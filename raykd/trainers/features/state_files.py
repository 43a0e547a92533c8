"""The files behind stored teacher states: unnamed and private to the process, or in a folder that processes share.

A shared folder, on one machine's own disk, exists as long as some process uses it. Every user holds a shared lock on its file
``users``, which the system releases when a process dies. The process that gets that lock exclusively is the last one, and
removes the folder.
"""

import contextlib
import fcntl
import os
import shutil
import tempfile
import uuid
import weakref
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from raykd.data import storage

TargetSource = Literal["live", "stored"]
ArrayShape = tuple[int, ...]
StoredArray = Any
"""A memory-mapped array of float32."""


class StateFiles(Protocol):
    """Storage of flags and records."""

    choice: TargetSource | None
    """Result of timing the first batches; None before."""

    def flags(self, rows: int) -> NDArray[np.bool_]:
        """Flags of the rows that are stored, ``[rows]``; writing into them is kept."""
        ...

    def arrays(self, shapes: Mapping[str, ArrayShape] | None) -> dict[str, StoredArray]:
        """The records by name, created with these shapes where absent; None returns only those that exist."""
        ...

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """Lock to hold while flags are read or set."""
        ...

    def close(self) -> None:
        """Leave the files; mapped arrays stay readable."""
        ...


class PrivateFiles:
    """Unnamed files of this process; blocks that were never written take no disk space."""

    def __init__(self) -> None:
        self.choice: TargetSource | None = None

    def flags(self, rows: int) -> NDArray[np.bool_]:
        """See :class:`StateFiles`."""
        return np.zeros(rows, bool)

    def arrays(self, shapes: Mapping[str, ArrayShape] | None) -> dict[str, StoredArray]:
        """See :class:`StateFiles`."""
        return {name: _unnamed(shape) for name, shape in (shapes or {}).items()}

    def locked(self) -> contextlib.AbstractContextManager[None]:
        """See :class:`StateFiles`."""
        return contextlib.nullcontext()

    def close(self) -> None:
        """See :class:`StateFiles`."""


def _unnamed(shape: ArrayShape) -> StoredArray:
    with tempfile.TemporaryFile(prefix="raykd-states-") as stream:
        return np.memmap(stream, np.float32, mode="w+", shape=shape)


class SharedFiles:
    """Files in a folder on this machine's own disk that several processes read and write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._choice: TargetSource | None = None
        users = _enter(folder)
        self._lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        self._end = weakref.finalize(self, _leave, folder, users, self._lock)

    @property
    def choice(self) -> TargetSource | None:
        """Choice of the process that timed first, valid for all."""
        path = str(self._folder / "choice.json")
        if self._choice is None and os.path.exists(path):
            self._choice = storage.read_json(path)
        return self._choice

    @choice.setter
    def choice(self, value: TargetSource | None) -> None:
        storage.write_json(str(self._folder / "choice.json"), value)
        self._choice = value

    def flags(self, rows: int) -> NDArray[np.bool_]:
        """See :class:`StateFiles`."""
        with self.locked():
            flags: NDArray[np.bool_] = _mapped(self._folder / "flags", bool, (rows,))
            return flags

    def arrays(self, shapes: Mapping[str, ArrayShape] | None) -> dict[str, StoredArray]:
        """See :class:`StateFiles`."""
        path = str(self._folder / "arrays.json")
        with self.locked():
            if not os.path.exists(path):
                if shapes is None:
                    return {}
                storage.write_json(path, {name: list(shape) for name, shape in shapes.items()})
            there = {name: tuple(shape) for name, shape in storage.read_json(path).items()}
            return {name: _mapped(self._folder / f"{name}.f32", np.float32, shape) for name, shape in there.items()}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """See :class:`StateFiles`. A file lock: what was written before its release is visible to the next holder."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """See :class:`StateFiles`; the last user removes the folder."""
        self._end()


def shared_folder(key: str) -> Path:
    """The folder that all processes of one user on this machine derive from a key."""
    return _parent() / key


def remove_unused_folders() -> None:
    """Remove folders that no process uses: killed processes leave them behind."""
    for folder in _parent().glob("*"):
        with contextlib.suppress(FileNotFoundError):
            users = os.open(folder / "users", os.O_RDWR)
            _leave(folder, users)


def _parent() -> Path:
    return Path(tempfile.gettempdir(), f"raykd-states-{os.getuid()}")


def _mapped(path: Path, kind: Any, shape: ArrayShape) -> Any:
    return np.memmap(path, kind, mode="r+" if path.exists() else "w+", shape=shape)


def _enter(folder: Path) -> int:
    """Take the users' lock of a folder, created if absent; another process may remove the folder meanwhile."""
    while True:
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            users = os.open(folder / "users", os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(users, fcntl.LOCK_SH)
            if _is_of(users, folder):
                return users
            os.close(users)


def _leave(folder: Path, users: int, *others: int) -> None:
    """Release the lock; the last user removes the folder, renamed first so that a new user can start at once."""
    for one in others:
        os.close(one)
    try:
        with contextlib.suppress(BlockingIOError, FileNotFoundError):  # others use it, or another process removed it
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_of(users, folder):
                aside = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
                folder.rename(aside)
                shutil.rmtree(aside)
    finally:
        os.close(users)


def _is_of(users: int, folder: Path) -> bool:
    """True when a lock's file is the one in the folder now."""
    path = folder / "users"
    return path.exists() and os.stat(path).st_ino == os.fstat(users).st_ino
