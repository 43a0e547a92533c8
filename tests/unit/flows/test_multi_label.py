"""Rows with any number of labels, from TSV to the comparison table."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from raykd.config import build
from raykd.data.storage import read_json
from raykd.errors import ConfigError
from tests.conftest import FILLERS, WORDS

LABELS = ("happy", "sad", "cinema")


TELLING = {"happy": WORDS["1"], "sad": WORDS["0"], "cinema": ("plot", "film", "scene")}


def write_rows(path, count, seed):
    """Ten words a row, two of them for each label that it has; a row may have none."""
    draw = np.random.default_rng(seed)
    neutral = [word for word in FILLERS if word not in TELLING["cinema"]]
    lines = []
    for _ in range(count):
        labels = [label for label in LABELS if draw.random() < 0.5]
        words = [str(word) for label in labels for word in draw.choice(TELLING[label], size=2)]
        words += [str(word) for word in draw.choice(neutral, size=10 - len(words))]
        draw.shuffle(words)
        lines.append(f"{' '.join(words)}\t{','.join(labels)}\n")
    path.write_text("".join(lines))
    return str(path)


@pytest.fixture
def content(small_world, tmp_path):
    from tests.unit.metakd.worlds import save_model

    training = {"epochs": 40, "batch_size": 16, "learning_rate": 5e-3, "log_every": 5}
    return {
        "name": "labels",
        "storage": str(tmp_path / "runs"),
        "data": {
            "input_schema": "text:str:1,tags:str:1", "first_sequence": "text", "label": "tags", "labels": list(LABELS),
            "task": "multi_label", "train": [write_rows(tmp_path / "train.tsv", 400, 1)],
            "test": [write_rows(tmp_path / "test.tsv", 120, 2)], "validation": 0.2, "sequence_length": 32,
        },
        "teacher": {"model": save_headless(save_model, tmp_path / "teacher"), "training": training},
        "student": {"model": save_headless(save_model, tmp_path / "student"), "training": training, "baseline": False},
        "compute": {"engine": {"kind": "torch"}},
    }  # fmt: skip


def save_headless(save_model, folder):
    """The model as it comes from pretraining: its head is new for every number of labels."""
    from transformers import AutoTokenizer, BertModel

    path = save_model(folder / "full", hidden=32, layers=1)
    BertModel.from_pretrained(path).save_pretrained(folder / "encoder")
    AutoTokenizer.from_pretrained(path).save_pretrained(folder / "encoder")
    return str(folder / "encoder")


def test_a_multi_label_distillation_ends_in_a_comparison(content, local):
    pipeline = local(build(content))
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
def test_other_objectives_of_several_labels(kind, content, local):
    content["student"] |= {"objective": {"kind": kind}}
    content["student"]["training"] = content["student"]["training"] | {"epochs": 1}
    content["teacher"]["training"] = content["teacher"]["training"] | {"epochs": 1}
    if kind == "fine_tune":
        content["student"] |= {"baseline": True}
    pipeline = local(build(content))
    (task,) = pipeline.students()
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
def test_what_does_not_fit_several_labels_is_refused(changes, message, content):
    content["data"] |= changes
    with pytest.raises(ConfigError, match=message):
        build(content)


def test_objectives_of_one_class_a_row_are_refused(content):
    content["student"]["objective"] = {"kind": "dist_kd"}
    with pytest.raises(ConfigError, match="dist_kd needs exactly one class per row"):
        build(content)
