"""The whole distillation without Ray."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from raykd.config import ExperimentConfig
    from tests.local_pipeline import LocalPipeline


@pytest.fixture(autouse=True)
def exact_arithmetic(monkeypatch: pytest.MonkeyPatch) -> None:
    """``precision: auto`` is fp32 also on a CPU with bf16: what tests compare is equal up to the rounding of fp32."""
    monkeypatch.setattr("raykd.trainers.precision.BF16_OF_CPUS", frozenset())


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


@pytest.fixture(scope="session")
def student_onnx(small_world: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> str:
    """The small experiment's student as an ONNX file; torch's exporter takes seconds."""
    from raykd.models.onnx import export_onnx

    file = str(tmp_path_factory.mktemp("exported") / "model.onnx")
    export_onnx(small_world["student"], file)
    return file


@pytest.fixture
def quick_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports time their files for a moment only."""
    monkeypatch.setattr("raykd.model_export.LATENCY_SECONDS", 0.01)
