"""Rows with any number of labels, from TSV to the comparison table."""

import json
from pathlib import Path

import pytest
import torch

from raykd.config import build
from raykd.data.storage import read_json
from raykd.errors import ConfigError
from tests.unit.flows.tagged_rows import LABELS


def test_a_multi_label_distillation_ends_in_a_comparison(tagged, local):
    pipeline = local(build(tagged))
    comparison = pipeline.run()
    assert comparison.headline == "exact_match"
    teacher, student = comparison.systems
    assert teacher.metrics["exact_match"].mean > comparison.constant_score + 0.2
    assert student.metrics["macro_f1"].mean > 0.7
    assert "agreement" in student.metrics
    assert any("teacher: exact match" in line for line in pipeline.runner.said)

    folder = Path(pipeline.runner.folder)
    history = [json.loads(line) for line in (folder / "students/kd-seed1/history.jsonl").read_text().splitlines()]
    steps = [entry for entry in history if entry["event"] == "train"]
    assert set(steps[0]["terms"]) == {"kd_bce", "bce"}
    best = max(entry["metrics"]["exact_match"] for entry in history if entry["event"] == "eval")
    assert [entry["best"] for entry in history if entry["event"] == "end"] == [best]

    from transformers import AutoModelForSequenceClassification
    from transformers import pipeline as hf_pipeline

    model = str(folder / "students/kd-seed1/model")
    opened = AutoModelForSequenceClassification.from_pretrained(model)
    assert opened.config.problem_type == "multi_label_classification"
    (scores,) = hf_pipeline("text-classification", model=model, top_k=None)(["good film"])
    assert {one["label"] for one in scores} == set(LABELS)
    assert sum(one["score"] for one in scores) != pytest.approx(1.0)


@pytest.mark.parametrize("kind", ["mse_kd", "fine_tune"])
def test_other_objectives_of_several_labels(kind, tagged, local):
    tagged["student"] |= {"objective": {"kind": kind}}
    tagged["student"]["training"] = tagged["student"]["training"] | {"epochs": 1}
    tagged["teacher"]["training"] = tagged["teacher"]["training"] | {"epochs": 1}
    pipeline = local(build(tagged))
    (student,) = pipeline.students()
    task = student.task
    entry = next(json.loads(line) for line in Path(task.history).read_text().splitlines() if '"train"' in line)
    assert set(entry["terms"]) == ({"bce"} if kind == "fine_tune" else {"bce", "kd_mse"})
    assert torch.isfinite(torch.tensor(entry["loss"]))
    assert read_json(task.model_folder + "/config.json")["problem_type"] == "multi_label_classification"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positive_label": "sad"}, "positive_label is for rows with one of two labels"),
        ({"labels": ["a,b", "c"]}, "',' separates the labels of a row"),
    ],
)
def test_what_does_not_fit_several_labels_is_refused(changes, message, tagged):
    tagged["data"] |= changes
    with pytest.raises(ConfigError, match=message):
        build(tagged)


def test_objectives_of_one_class_a_row_are_refused(tagged):
    tagged["student"]["objective"] = {"kind": "dist_kd"}
    with pytest.raises(ConfigError, match="dist_kd needs exactly one class per row"):
        build(tagged)
