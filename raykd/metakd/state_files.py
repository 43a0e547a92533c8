"""The files behind a teacher's records: without a name and gone with the process, or in a folder that processes share.

A shared folder, on one machine's own disk, lives as long as some process uses it. Every user holds a shared lock on its file
``users``, which the system takes back from a process that dies. Who gets that lock alone is the last: it removes the folder.
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

Chosen = Literal["live", "stored"]
Shape = tuple[int, ...]
Array = Any
"""A memory-mapped array of float32."""


class Files(Protocol):
    """Where records are."""

    chosen: Chosen | None
    """What the first batches ended with; none before."""

    def flags(self, rows: int) -> NDArray[np.bool_]:
        """Which rows are recorded, ``[rows]``; what is written into it is kept."""
        ...

    def arrays(self, shapes: Mapping[str, Shape] | None) -> dict[str, Array]:
        """The records by name, made as ``shapes`` says where they are not there; none asks for those that are."""
        ...

    def changing(self) -> contextlib.AbstractContextManager[None]:
        """Held while flags are read or set."""
        ...

    def close(self) -> None:
        """Leave; what is mapped stays readable."""
        ...


class OwnFiles:
    """Files of this process, without a name; blocks that were never written take no room."""

    def __init__(self) -> None:
        self.chosen: Chosen | None = None

    def flags(self, rows: int) -> NDArray[np.bool_]:
        """See :class:`Files`."""
        return np.zeros(rows, bool)

    def arrays(self, shapes: Mapping[str, Shape] | None) -> dict[str, Array]:
        """See :class:`Files`."""
        return {name: _nameless(shape) for name, shape in (shapes or {}).items()}

    def changing(self) -> contextlib.AbstractContextManager[None]:
        """See :class:`Files`."""
        return contextlib.nullcontext()

    def close(self) -> None:
        """See :class:`Files`."""


def _nameless(shape: Shape) -> Array:
    with tempfile.TemporaryFile(prefix="raykd-states-") as stream:
        return np.memmap(stream, np.float32, mode="w+", shape=shape)


class SharedFiles:
    """Files in a folder on this machine's own disk that several processes read and write."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._chosen: Chosen | None = None
        users = _enter(folder)
        self._lock = os.open(folder / "lock", os.O_CREAT | os.O_RDWR, 0o600)
        self._end = weakref.finalize(self, _leave, folder, users, self._lock)

    @property
    def chosen(self) -> Chosen | None:
        """What the first process to know decided for all."""
        path = str(self._folder / "chosen.json")
        if self._chosen is None and os.path.exists(path):
            self._chosen = storage.read_json(path)
        return self._chosen

    @chosen.setter
    def chosen(self, value: Chosen | None) -> None:
        storage.write_json(str(self._folder / "chosen.json"), value)
        self._chosen = value

    def flags(self, rows: int) -> NDArray[np.bool_]:
        """See :class:`Files`."""
        with self.changing():
            flags: NDArray[np.bool_] = _mapped(self._folder / "flags", bool, (rows,))
            return flags

    def arrays(self, shapes: Mapping[str, Shape] | None) -> dict[str, Array]:
        """See :class:`Files`."""
        path = str(self._folder / "arrays.json")
        with self.changing():
            if not os.path.exists(path):
                if shapes is None:
                    return {}
                storage.write_json(path, {name: list(shape) for name, shape in shapes.items()})
            there = {name: tuple(shape) for name, shape in storage.read_json(path).items()}
            return {name: _mapped(self._folder / f"{name}.f32", np.float32, shape) for name, shape in there.items()}

    @contextlib.contextmanager
    def changing(self) -> Iterator[None]:
        """See :class:`Files`. A lock of the system: what was written before it is given back is seen by who takes it next."""
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.flock(self._lock, fcntl.LOCK_UN)

    def close(self) -> None:
        """See :class:`Files`; the last one takes the folder along."""
        self._end()


def shared_folder(key: str) -> Path:
    """The folder that processes of one user on this machine find by a key."""
    return _parent() / key


def sweep() -> None:
    """Remove folders that nobody uses: left behind by processes that were killed."""
    for folder in _parent().glob("*"):
        with contextlib.suppress(FileNotFoundError):
            users = os.open(folder / "users", os.O_RDWR)
            _leave(folder, users)


def _parent() -> Path:
    return Path(tempfile.gettempdir(), f"raykd-states-{os.getuid()}")


def _mapped(path: Path, kind: Any, shape: Shape) -> Any:
    return np.memmap(path, kind, mode="r+" if path.exists() else "w+", shape=shape)


def _enter(folder: Path) -> int:
    """Take the users' lock of a folder, made if it is not there; the folder may be removed while one waits for it."""
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
    """Give back the lock; who finds itself alone removes the folder, under another name so that the next one may begin anew."""
    for one in others:
        os.close(one)
    try:
        with contextlib.suppress(BlockingIOError, FileNotFoundError):  # others use it; another one has removed it
            fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_of(users, folder):
                aside = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}")
                folder.rename(aside)
                shutil.rmtree(aside)
    finally:
        os.close(users)


def _is_of(users: int, folder: Path) -> bool:
    """Whether a lock's file is the one that lies in the folder now."""
    path = folder / "users"
    return path.exists() and os.stat(path).st_ino == os.fstat(users).st_ino
