"""Unique memory (USS) of this process and everything it started, by what each process does, watched from a thread."""

import contextlib
import re
import threading
from types import TracebackType
from typing import Self

import psutil


class Footprints:
    """The largest USS of any process of each kind while the block runs."""

    def __init__(self, every_s: float = 0.5) -> None:
        self._every_s = every_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="footprints", daemon=True)
        self.most: dict[str, int] = {}
        """Bytes, by kind of process."""

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        me = psutil.Process()
        while not self._end.wait(self._every_s):
            for process in [me, *me.children(recursive=True)]:
                with contextlib.suppress(psutil.Error):
                    kind = "driver" if process.pid == me.pid else _kind(process)
                    self.most[kind] = max(self.most.get(kind, 0), process.memory_full_info().uss)


def _kind(process: psutil.Process) -> str:
    """Title that Ray gives its workers, else the name of the program."""
    words = process.cmdline()
    if not words:
        return process.name()
    if words[0].startswith("ray::"):
        title = re.sub(r"[^A-Za-z_>()-].*$", "", words[0].removeprefix("ray::"))
        return "idle worker" if title == "IDLE" else title
    return next((word.rsplit("/", 1)[-1] for word in words if "ray" in word), process.name())
