"""A limit for waits on Ray Data: a job that nobody works on, because no CPU comes free for it, ends with an error.

Work has no limit. Whoever is at it says so every :data:`BEAT_S` seconds, in Ray's key-value store: a task that is run again
must put out what it did the first time, so signs of life cannot be among its outputs.
"""

import contextlib
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from raykd.errors import ResourceError

LIMIT_S = 600.0
"""Seconds a job waits for CPUs where :func:`limit_waits` was not called."""

BEAT_S = 20.0
"""Seconds between two signs of life of a worker, or fewer where the limit is low."""

_SETTING, _NAMESPACE = "raykd_start_timeout_s", b"raykd"


def limit_waits(seconds: float) -> None:
    """Say how long jobs of this process wait, from now on."""
    from ray.data import DataContext

    DataContext.get_current().set_config(_SETTING, seconds)


class Turns:
    """Base of callbacks of Ray Data's ``ExecutionCallback`` interface; subclasses implement ``on_execution_step``."""

    def on_execution_step(self, executor: Any) -> None:
        """A turn has ended."""

    def before_execution_starts(self, executor: Any) -> None:
        """Nothing to do."""

    def after_execution_succeeds(self, executor: Any) -> None:
        """Nothing to do."""

    def after_execution_fails(self, executor: Any, error: Exception) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class Beat:
    """A worker's side: where its signs of life go, and how often."""

    key: bytes
    every_s: float

    @contextlib.contextmanager
    def going(self) -> Iterator[None]:
        """Give signs of life while the block runs."""
        ended = threading.Event()
        threading.Thread(target=self._go, args=(ended,), name="raykd-beat", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _go(self, ended: threading.Event) -> None:
        from ray.exceptions import RayError
        from ray.experimental.internal_kv import _internal_kv_put

        while not ended.wait(self.every_s):
            with contextlib.suppress(RayError):  # a head out of reach hears the next one
                _internal_kv_put(self.key, uuid.uuid4().bytes, namespace=_NAMESPACE)


class Watch(Turns):
    """The driver's side of one job: ends it when neither results nor signs of life have come for as long as the limit."""

    def __init__(self) -> None:
        from ray.data import DataContext

        self.limit_s = float(DataContext.get_current().get_config(_SETTING, LIMIT_S))
        self.beat = Beat(b"beat-" + uuid.uuid4().hex.encode(), min(BEAT_S, self.limit_s / 4))
        self._heard = self._looked = time.monotonic()
        self._last = b""

    def heard(self) -> None:
        """A result has come."""
        self._heard = time.monotonic()

    def on_execution_step(self, executor: Any) -> None:  # noqa: ARG002 (Ray passes it by name)
        """Look for signs of life now and then. Raises Ray's ExecutionTimeoutError, which ends the job."""
        now = time.monotonic()
        if now - max(self._heard, self._looked) >= self.beat.every_s:
            self._looked = now
            self._look()
        if now - self._heard > self.limit_s:
            from ray.data.exceptions import ExecutionTimeoutError

            raise ExecutionTimeoutError(f"nobody works on it since {self.limit_s:g} s")

    def _look(self) -> None:
        from ray.exceptions import RayError
        from ray.experimental.internal_kv import _internal_kv_get

        with contextlib.suppress(RayError):
            found = _internal_kv_get(self.beat.key, namespace=_NAMESPACE) or b""
            if found != self._last:
                self._last = found
                self.heard()

    @contextlib.contextmanager
    def over(self, data: Any, what: str) -> Iterator[None]:
        """Watch a dataset's execution, which the block iterates. Raises ResourceError saying what was waited for."""
        from ray.data.exceptions import ExecutionTimeoutError
        from ray.exceptions import RayError
        from ray.experimental.internal_kv import _internal_kv_del

        data.context.custom_execution_callback_classes = [lambda: self]
        data.context.execution_no_progress_timeout_s = -1  # Ray's own limit counts outputs, so a long item would be one
        try:
            yield
        except ExecutionTimeoutError:
            raise ResourceError(self._late(what)) from None
        finally:
            with contextlib.suppress(RayError):
                _internal_kv_del(self.beat.key, namespace=_NAMESPACE)

    def _late(self, what: str) -> str:
        import ray

        free, total = (found.get("CPU", 0.0) for found in (ray.available_resources(), ray.cluster_resources()))
        return (
            f"waited {self.limit_s:g} s (compute.start_timeout_s) for {what}: nothing of this run is at work, {free:g} of the "
            f"cluster's {total:g} CPUs are free. See what holds the others (`ray status`), wait for it, or add nodes; the same "
            "command continues"
        )
