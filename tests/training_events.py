"""Events of a training with made-up values."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from raykd.trainers.events import Started, StepMetrics, TrainingEvent


def step_metrics(step: int, **changes: Any) -> StepMetrics:
    """Metrics of an optimiser step; ``loss`` and other fields as given."""
    values: dict[str, Any] = {
        "epoch": 0,
        "total_steps": 100,
        "terms": {"ce": 0.5},
        "loss": 0.5,
        "learning_rate": 1e-4,
        "grad_norm": 1.0,
        "rows_per_second": 10.0,
        "data_wait_s": 0.0,
    }
    return StepMetrics(step=step, **values | changes)


def started(step: int = 0, **changes: Any) -> Started:
    """A start at ``step``."""
    values: dict[str, Any] = {
        "pid": 1,
        "host": "here",
        "engine": "torch",
        "model": "Bert",
        "precision": "fp32",
        "world_size": 1,
        "threads": 1,
        "cpus": 1,
    }
    return Started(step=step, **values | changes)


def write_events(path: Path, events: Iterable[TrainingEvent]) -> str:
    """A history file of these events."""
    path.write_text("".join(json.dumps(event.to_json()) + "\n" for event in events))
    return str(path)
