"""A terminal that a command runs in, and that a test closes under it."""

import fcntl
import os
import select
import termios
import threading
from pathlib import Path
from typing import Any, Self


class Terminal:
    """A pseudo-terminal; what is written to it is appended to ``log`` until it is closed."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._main, self._far = os.openpty()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._copy, name="terminal", daemon=True)
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def streams(self) -> dict[str, Any]:
        """Arguments of Popen for the first process in this terminal, which must lead a session."""
        far = self._far
        return {
            **dict.fromkeys(("stdin", "stdout", "stderr"), far),
            "preexec_fn": lambda: fcntl.ioctl(far, termios.TIOCSCTTY, 0),
        }

    def close(self) -> None:
        """Close it: the kernel sends SIGHUP to the command and to its process group, and further writes fail."""
        if not self._closing.is_set():
            self._closing.set()
            self._thread.join()
            os.close(self._far)
            os.close(self._main)

    def _copy(self) -> None:
        with self._log.open("ab", buffering=0) as log:
            while not self._closing.is_set():
                if select.select([self._main], [], [], 0.1)[0]:
                    log.write(os.read(self._main, 65536))
