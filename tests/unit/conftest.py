"""The whole distillation without Ray."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from raykd.config import ExperimentConfig
    from tests.local_pipeline import LocalPipeline


@pytest.fixture
def local(monkeypatch: pytest.MonkeyPatch) -> "Callable[[ExperimentConfig], LocalPipeline]":
    """A pipeline of a configuration, its input checked; latencies are measured for a moment only."""
    from raykd.distill import report
    from tests.local_pipeline import LocalPipeline

    monkeypatch.setattr(report, "LATENCY_SECONDS", 0.02)

    def make(config: "ExperimentConfig") -> LocalPipeline:
        pipeline = LocalPipeline(config)
        pipeline.check()
        return pipeline

    return make


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports time their files for a moment only."""
    monkeypatch.setattr("raykd.model_export.LATENCY_SECONDS", 0.01)
