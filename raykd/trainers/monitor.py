"""What a training task says while it runs: a history file, and any listener (progress bar, tracker)."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from raykd.data import storage

Listener = Callable[[Mapping[str, Any]], None]
"""Called with every record: ``event`` (train, eval, gradient_share, checkpoint, ...), ``step``, and the event's own figures."""


@dataclass
class Monitor:
    """Writes records as JSON lines and passes them on; only the first worker has one that does anything."""

    path: str | None = None
    """The history file; none writes nothing."""
    listeners: tuple[Listener, ...] = ()
    """Who else hears every record."""
    _lines: list[str] = field(default_factory=list)

    def resume(self, step: int) -> None:
        """Keep what an earlier attempt wrote up to ``step``; what came after it will be repeated."""
        if self.path is None or not storage.exists(self.path):
            return
        lines = storage.read_bytes(self.path).decode("utf-8").splitlines()
        self._lines = [line for line in lines if json.loads(line)["step"] <= step]

    def record(self, event: str, step: int, **figures: Any) -> None:
        """Note an event after ``step`` optimiser steps."""
        entry = {"event": event, "step": step, **figures}
        if self.path is not None:
            self._lines.append(json.dumps(entry))
        for listener in self.listeners:
            listener(entry)

    def flush(self) -> None:
        """Write the history out; called with every evaluation and checkpoint and at the end."""
        if self.path is not None:
            storage.write_bytes(self.path, "".join(line + "\n" for line in self._lines).encode())
