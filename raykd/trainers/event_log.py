"""History file and listeners of a training's events."""

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from raykd.data import storage
from raykd.errors import DataError
from raykd.trainers.events import TrainingEvent, event_from_json

Listener = Callable[[TrainingEvent], None]
"""Called with every event."""


@dataclass
class EventLog:
    """Writes events as JSON lines and passes them to listeners; only the first worker has one that does anything."""

    path: str | None = None
    """History file; None writes nothing."""
    listeners: tuple[Listener, ...] = ()
    """Receivers of every event: progress bar, tracker, driver."""
    _lines: list[str] = field(default_factory=list)

    def resume(self, step: int) -> None:
        """Keep the events of an earlier attempt up to ``step``; later ones will be repeated."""
        if self.path is None or not storage.exists(self.path):
            return
        lines = storage.read_bytes(self.path).decode("utf-8").splitlines()
        self._lines = [line for line in lines if json.loads(line)["step"] <= step]

    def record(self, event: TrainingEvent) -> None:
        """Append an event."""
        if self.path is not None:
            self._lines.append(json.dumps(event.to_json()))
        for listener in self.listeners:
            listener(event)

    def flush(self) -> None:
        """Write the history file; called with every evaluation and checkpoint and at the end."""
        if self.path is not None:
            storage.write_bytes(self.path, "".join(line + "\n" for line in self._lines).encode())


def read_history(path: str) -> list[TrainingEvent]:
    """Events of a history file. Raises DataError naming the file and line that is not an event."""
    return list(_events(storage.read_bytes(path).decode("utf-8").splitlines(), path))


def _events(lines: Iterable[str], path: str) -> Iterator[TrainingEvent]:
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise DataError(f"{path}:{number} is not a JSON record ({error.msg}); delete the line or the file") from None
        if not isinstance(record, dict):
            raise DataError(f"{path}:{number} is a {type(record).__name__}, not a record; delete the line or the file")
        try:
            yield event_from_json(record)
        except DataError as error:
            raise DataError(f"{path}:{number}: {error}; delete the line or the file") from None
