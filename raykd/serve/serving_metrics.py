"""Counters of a server in Prometheus' text format."""

from collections.abc import Sequence

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class ServingMetrics:
    """Requests by status, latency, texts, rows of batches, and texts that the teacher answered."""

    def __init__(self) -> None:
        from prometheus_client import CollectorRegistry, Counter, Histogram

        self._registry = registry = CollectorRegistry()
        self._requests = Counter("raykd_requests", "Requests to /predict", ["status"], registry=registry)
        self._seconds = Histogram("raykd_request_seconds", "Seconds of answered requests", buckets=SECONDS, registry=registry)
        self._texts = Counter("raykd_texts", "Texts answered", registry=registry)
        self._rows = Histogram("raykd_batch_rows", "Rows of the batch that scored a text", buckets=ROWS, registry=registry)
        self._escalations = Counter("raykd_escalations", "Texts that the teacher answered", registry=registry)

    def answered(self, *, seconds: float, texts: int, escalated: int, batch_rows: Sequence[int]) -> None:
        """Count a request with its answers."""
        self._requests.labels("200").inc()
        self._seconds.observe(seconds)
        self._texts.inc(texts)
        self._escalations.inc(escalated)
        for rows in batch_rows:
            self._rows.observe(rows)

    def refused(self, status: int) -> None:
        """Count a request without answers."""
        self._requests.labels(str(status)).inc()

    def text(self) -> bytes:
        """All counters, as Prometheus reads them."""
        from prometheus_client import generate_latest

        return bytes(generate_latest(self._registry))
