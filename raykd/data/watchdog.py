"""Watchdog of Ray Data jobs: a job on which no worker makes progress, because no CPU becomes free, ends with an error.

The duration of work is not limited. A working task writes a heartbeat every :data:`HEARTBEAT_S` seconds into Ray's key-value
store: a repeated task must yield the same outputs as before, so heartbeats cannot be among them.
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
"""Seconds that a job waits for CPUs unless :func:`limit_waits` was called."""

HEARTBEAT_S = 20.0
"""Seconds between two heartbeats of a worker; at most a quarter of the limit."""

_SETTING, _NAMESPACE = "raykd_start_timeout_s", b"raykd"


def limit_waits(seconds: float) -> None:
    """Set the seconds that later jobs of this process wait for CPUs."""
    from ray.data import DataContext

    DataContext.get_current().set_config(_SETTING, seconds)


class LoopCallback:
    """Base of callbacks of Ray Data's ``ExecutionCallback`` interface; subclasses implement ``on_execution_step``."""

    def on_execution_step(self, executor: Any) -> None:
        """Called after each iteration of the control loop."""

    def before_execution_starts(self, executor: Any) -> None:
        """Nothing to do."""

    def after_execution_succeeds(self, executor: Any) -> None:
        """Nothing to do."""

    def after_execution_fails(self, executor: Any, error: Exception) -> None:
        """Nothing to do."""


@dataclass(frozen=True)
class Heartbeat:
    """A worker's heartbeat: key in Ray's key-value store, and interval in seconds."""

    key: bytes
    every_s: float

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Send heartbeats while the block runs."""
        ended = threading.Event()
        threading.Thread(target=self._send, args=(ended,), name="raykd-heartbeat", daemon=True).start()
        try:
            yield
        finally:
            ended.set()

    def _send(self, ended: threading.Event) -> None:
        from ray.exceptions import RayError
        from ray.experimental.internal_kv import _internal_kv_put

        while not ended.wait(self.every_s):
            with contextlib.suppress(RayError):  # a head that cannot be reached gets the next one
                _internal_kv_put(self.key, uuid.uuid4().bytes, namespace=_NAMESPACE)


class JobWatchdog(LoopCallback):
    """Driver's watchdog of one job: ends it when neither results nor heartbeats arrive within the limit."""

    def __init__(self) -> None:
        from ray.data import DataContext

        self.limit_s = float(DataContext.get_current().get_config(_SETTING, LIMIT_S))
        self.heartbeat = Heartbeat(b"heartbeat-" + uuid.uuid4().hex.encode(), min(HEARTBEAT_S, self.limit_s / 4))
        self._last_progress = self._last_check = time.monotonic()
        self._last_value = b""

    def note_progress(self) -> None:
        """Note that a result or a heartbeat has arrived."""
        self._last_progress = time.monotonic()

    def on_execution_step(self, executor: Any) -> None:  # noqa: ARG002 (Ray passes it by name)
        """Check the heartbeat at its interval. Raises Ray's ExecutionTimeoutError, which ends the job."""
        now = time.monotonic()
        if now - max(self._last_progress, self._last_check) >= self.heartbeat.every_s:
            self._last_check = now
            self._check_heartbeat()
        if now - self._last_progress > self.limit_s:
            from ray.data.exceptions import ExecutionTimeoutError

            raise ExecutionTimeoutError(f"no progress for {self.limit_s:g} s")

    def _check_heartbeat(self) -> None:
        from ray.exceptions import RayError
        from ray.experimental.internal_kv import _internal_kv_get

        with contextlib.suppress(RayError):
            found = _internal_kv_get(self.heartbeat.key, namespace=_NAMESPACE) or b""
            if found != self._last_value:
                self._last_value = found
                self.note_progress()

    @contextlib.contextmanager
    def watching(self, data: Any, what: str) -> Iterator[None]:
        """Watch a dataset's execution, which the block iterates. Raises ResourceError that names ``what`` it waited for."""
        from ray.data.exceptions import ExecutionTimeoutError
        from ray.exceptions import RayError
        from ray.experimental.internal_kv import _internal_kv_del

        data.context.custom_execution_callback_classes = [lambda: self]
        data.context.execution_no_progress_timeout_s = -1  # Ray's own limit counts outputs, so a long item would exceed it
        try:
            yield
        except ExecutionTimeoutError:
            raise ResourceError(self._timeout_message(what)) from None
        finally:
            with contextlib.suppress(RayError):
                _internal_kv_del(self.heartbeat.key, namespace=_NAMESPACE)

    def _timeout_message(self, what: str) -> str:
        import ray

        free, total = (found.get("CPU", 0.0) for found in (ray.available_resources(), ray.cluster_resources()))
        return (
            f"waited {self.limit_s:g} s (compute.start_timeout_s) for {what}: no task of this run is working, {free:g} of the "
            f"cluster's {total:g} CPUs are free. Find out what uses the others (`ray status`), wait for it, or add nodes; the "
            "same command continues"
        )
