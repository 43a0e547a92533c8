"""A kind of task from outside raykd: one entry in the configuration, one module, one entry in the lookup, and nothing else."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from torch import Tensor

from raykd import model_export
from raykd.config import build
from raykd.config.data import TASKS, TaskTraits
from raykd.distill import report
from raykd.errors import DataError
from raykd.metrics.metric import Metric
from raykd.metrics.resampling import MomentMetric
from raykd.progress import Terminal
from raykd.task_kinds import TASK_KINDS, TaskKind
from tests.local_pipeline import LocalPipeline
from tests.unit.flows.rated_rows import write_rated_rows
from tests.unit.flows.tagged_rows import save_headless

TRAITS = TaskTraits("values", headline="within_one", smaller_is_better=frozenset({"loss"}))


@dataclass(frozen=True)
class LevelCodec:
    """Levels -1, 0 and 1, from numbers."""

    names: tuple[str, ...] = ("level",)
    identity = {"levels": 3}  # noqa: RUF012

    def parse(self, cell: str) -> int:
        if not cell.lstrip("-").replace(".", "").isdigit():
            raise DataError(f"{cell!r} has no level")
        return int(np.sign(float(cell)))

    def column(self, values) -> pa.Array:
        return pa.array(values, pa.int8())


class Levels(TaskKind):
    """Ordered levels, learned with an absolute error."""

    name, problem_type, hard_term = "levels", "regression", "absolute"
    metrics = (
        Metric("within_one", "within one level"),
        Metric("agreement", "agreement with the teacher"),
        Metric("loss", "absolute error", percent=False),
    )
    agreement_text = "rows with the teacher's level"

    def label_codec(self, labels):
        return LevelCodec()

    def hard_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        return (logits[:, 0].float() - labels).abs()

    def metric_names(self, num_outputs):
        return ("within_one", "loss")

    def measure(self, labels, logits, names, *, positive_label=None):
        error = np.abs(logits[:, 0] - labels)
        return {"within_one": float(np.mean(error < 0.5)), "loss": float(error.mean())}

    def agreement(self, logits, other):
        return float(np.mean(np.rint(logits) == np.rint(other)))

    def table_metrics(self, num_outputs):
        return ("within_one", "loss")

    def resampled(self, names, *, positive_label=None):
        def features(labels, logits):
            return np.stack([np.ones(len(labels)), np.abs(logits[:, 0] - labels) < 0.5], axis=1)

        return {"within_one": MomentMetric(features, lambda sums: sums[..., 1] / sums[..., 0])}

    def constant_score(self, labels):
        return float(np.mean(labels == 0))

    def constant_text(self, score):
        return f"level 0 is right on {score:.0%}"

    def standard_error(self, headline, rows):
        return float(np.sqrt(headline * (1 - headline) / rows))

    def probabilities(self, logits):
        return logits

    def answer(self, logits, names):
        return str(int(np.rint(logits[0])))

    def describe_labels(self, names):
        return "A level from -1 to 1."


@pytest.fixture
def levels(monkeypatch, quick_export):
    """The two entries that a kind of raykd's own would have in raykd's files."""
    monkeypatch.setitem(TASKS, "levels", TRAITS)
    monkeypatch.setitem(TASK_KINDS, "levels", Levels())
    monkeypatch.setattr(report, "LATENCY_SECONDS", 0.02)


def test_a_new_kind_needs_no_other_file(levels, small_world, tmp_path, monkeypatch):
    from tests.unit.metakd.worlds import save_model

    training = {"epochs": 4, "batch_size": 16, "learning_rate": 5e-3}
    config = build(
        {
            "name": "levels", "storage": str(tmp_path / "runs"),
            "data": {
                "input_schema": "text:str:1,score:str:1", "first_sequence": "text", "label": "score", "task": "regression",
                "train": [write_rated_rows(tmp_path / "train.tsv", 200, 1)],
                "test": [write_rated_rows(tmp_path / "test.tsv", 80, 2)],
                "validation": 0.2, "sequence_length": 32,
            },
            "teacher": {"model": save_headless(save_model, tmp_path / "teacher"), "training": training},
            "student": {
                "model": save_headless(save_model, tmp_path / "student"), "training": training,
                "objective": {"kind": "mse_kd", "alpha": 0.5},
            },
            "compute": {"engine": {"kind": "torch"}},
        }
    )  # fmt: skip
    # the name stands in a Literal of raykd/config/data.py, where a kind of raykd's own would be added
    config = config.model_copy(update={"data": config.data.model_copy(update={"task": "levels"})})
    pipeline = LocalPipeline(config)
    pipeline.check()
    comparison = pipeline.run()
    assert (comparison.task, comparison.headline, comparison.labels) == ("levels", "within_one", ("level",))
    assert comparison.systems[-1].metrics["within_one"].mean > comparison.constant_score
    assert "within one level" in comparison.verdict()
    assert "level 0 is right on" in (Path(pipeline.runner.folder) / "report/report.md").read_text()
    history = (Path(pipeline.runner.folder) / "students/kd-seed1/history.jsonl").read_text().splitlines()
    assert set(next(json.loads(line) for line in history if '"train"' in line)["terms"]) == {"kd_mse", "absolute"}
    model = Path(pipeline.runner.folder) / "students/kd-seed1/model"
    assert "A level from -1 to 1." in (model / "README.md").read_text()
    exported_model_is_measured_by_the_kind(tmp_path / "model", model, monkeypatch)


def exported_model_is_measured_by_the_kind(copy, model, monkeypatch):
    """Outside of the run, whose configuration does not know the toy kind's name."""
    shutil.copytree(model, copy)
    monkeypatch.setattr(Levels, "agreement", lambda *_: 0.125)
    (made,) = model_export.export(str(copy), int8=False, terminal=Terminal())
    assert made.agreement == 0.125
