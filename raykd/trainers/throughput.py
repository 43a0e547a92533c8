"""Rows per second of a training, and the seconds it waits for rows."""

import time
from dataclasses import dataclass


@dataclass
class Throughput:
    """Stopwatch of the training loop; evaluations and checkpoints are not counted."""

    rows: int = 0
    """Rows over all workers of the steps done."""
    wait_seconds: float = 0.0
    work_seconds: float = 0.0
    _since: float = 0.0

    def wait(self) -> None:
        """Start to wait for the next rows."""
        self._since = time.perf_counter()

    def work(self) -> None:
        """The rows are here: start the step."""
        now = time.perf_counter()
        self.wait_seconds += now - self._since
        self._since = now

    def done(self, rows: int) -> None:
        """The step on ``rows`` is done."""
        self.work_seconds += time.perf_counter() - self._since
        self.rows += rows

    @property
    def rows_per_second(self) -> float:
        """0 before the first step is done."""
        seconds = self.wait_seconds + self.work_seconds
        return self.rows / seconds if self.rows else 0.0
