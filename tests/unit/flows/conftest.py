"""Jobs of several tasks, and the fixtures of the packages that flows go through."""

import pytest

from tests.unit.easynlp.conftest import easynlp, train_flags, world
from tests.unit.flows.rated_rows import write_rated_rows
from tests.unit.flows.tagged_rows import LABELS, save_headless, write_tagged_rows
from tests.unit.metakd.worlds import save_model
from tests.unit.report.conftest import invent

__all__ = ["easynlp", "invent", "train_flags", "world"]


@pytest.fixture
def tagged(small_world, tmp_path):
    """A job on rows with any number of labels."""
    training = {"epochs": 40, "batch_size": 16, "learning_rate": 5e-3, "log_every": 5}
    return {
        "name": "labels",
        "storage": str(tmp_path / "runs"),
        "data": {
            "input_schema": "text:str:1,tags:str:1", "first_sequence": "text", "label": "tags", "labels": list(LABELS),
            "task": "multi_label", "train": [write_tagged_rows(tmp_path / "train.tsv", 400, 1)],
            "test": [write_tagged_rows(tmp_path / "test.tsv", 120, 2)], "validation": 0.2, "sequence_length": 32,
        },
        "teacher": {"model": save_headless(save_model, tmp_path / "teacher"), "training": training},
        "student": {"model": save_headless(save_model, tmp_path / "student"), "training": training, "variants": {"kd": {}}},
        "compute": {"engine": {"kind": "torch"}},
    }  # fmt: skip


@pytest.fixture
def rated(small_world, tmp_path):
    """A job on rows with a number as their label."""
    training = {"epochs": 5, "batch_size": 16, "learning_rate": 5e-3, "log_every": 5}
    return {
        "name": "numbers",
        "storage": str(tmp_path / "runs"),
        "data": {
            "input_schema": "text:str:1,score:str:1", "first_sequence": "text", "label": "score", "task": "regression",
            "train": [write_rated_rows(tmp_path / "train.tsv", 300, 1)],
            "test": [write_rated_rows(tmp_path / "test.tsv", 120, 2)],
            "validation": 0.2, "sequence_length": 32,
        },
        "teacher": {"model": save_headless(save_model, tmp_path / "teacher"), "training": training},
        "student": {
            "model": save_headless(save_model, tmp_path / "student"), "training": training,
            "objective": {"kind": "mse_kd", "alpha": 0.7}, "seeds": [1, 2],
        },
        "compute": {"engine": {"kind": "torch"}},
    }  # fmt: skip
