"""Rows with a number as their label, from TSV to comparison, model card and ONNX."""

import json
from pathlib import Path

import numpy as np
import pytest

from raykd.config import build
from raykd.config.load import load_job
from raykd.data.storage import read_json
from raykd.errors import ConfigError, DataError
from raykd.report.files import read_report, write_report
from tests.conftest import FILLERS, WORDS
from tests.unit.flows.test_multi_label import save_headless


def write_rows(path: Path, count: int, seed: int) -> str:
    """Ten words a row; the label is the number of happy words less that of sad ones, in tenths."""
    draw = np.random.default_rng(seed)
    lines = []
    for _ in range(count):
        happy = int(draw.integers(0, 7))
        words = [str(word) for word in draw.choice(WORDS["1"], happy)] + [
            str(word) for word in draw.choice(WORDS["0"], 6 - happy)
        ]
        words += [str(word) for word in draw.choice(FILLERS, 4)]
        draw.shuffle(words)
        lines.append(f"{' '.join(words)}\t{(2 * happy - 6) / 10}\n")
    path.write_text("".join(lines))
    return str(path)


@pytest.fixture
def content(small_world, tmp_path):
    from tests.unit.metakd.worlds import save_model

    training = {"epochs": 5, "batch_size": 16, "learning_rate": 5e-3, "log_every": 5}
    return {
        "name": "numbers",
        "storage": str(tmp_path / "runs"),
        "data": {
            "input_schema": "text:str:1,score:str:1", "first_sequence": "text", "label": "score", "task": "regression",
            "train": [write_rows(tmp_path / "train.tsv", 300, 1)], "test": [write_rows(tmp_path / "test.tsv", 120, 2)],
            "validation": 0.2, "sequence_length": 32,
        },
        "teacher": {"model": save_headless(save_model, tmp_path / "teacher"), "training": training},
        "student": {
            "model": save_headless(save_model, tmp_path / "student"), "training": training,
            "objective": {"kind": "mse_kd", "alpha": 0.7}, "seeds": [1, 2],
        },
        "compute": {"engine": {"kind": "torch"}},
    }  # fmt: skip


def test_a_regression_is_distilled_reported_and_exported(content, local, capsys):
    pipeline = local(build(content))
    comparison = pipeline.run()
    assert (comparison.task, comparison.headline, comparison.labels) == ("regression", "pearson", ("value",))
    teacher, _, student = comparison.systems
    assert min(one.metrics["pearson"].mean for one in comparison.systems) > 0.8
    assert student.metrics["rmse"].mean < comparison.constant_score
    assert set(student.metrics) == {"pearson", "spearman", "rmse", "loss", "agreement"}
    assert (teacher.calibration, teacher.classes) == (None, {})
    assert {one.metric for one in comparison.contrasts} == {"pearson", "rmse"}
    assert "Pearson correlation 0." in comparison.verdict()
    assert "points" not in comparison.verdict()
    assert comparison.teacher_quality is not None
    assert comparison.teacher_quality.train.entropy is None

    folder = Path(pipeline.runner.folder)
    assert read_report(str(folder / "report")) == comparison
    write_report(comparison, str(folder / "again"))
    text = (folder / "report/report.md").read_text()
    assert "the mean of the labels has a root mean squared error of" in text
    assert "## Per class" not in text
    assert "Calibration" not in (folder / "report/report.html").read_text()

    history = [json.loads(line) for line in (folder / "students/kd-seed1/history.jsonl").read_text().splitlines()]
    steps = [entry for entry in history if entry["event"] == "train"]
    assert set(steps[0]["terms"]) == {"kd_mse", "mse"}
    best = max(entry["metrics"]["pearson"] for entry in history if entry["event"] == "eval")
    assert [entry["best"] for entry in history if entry["event"] == "end"] == [best]

    model = folder / "students/kd-seed1/model"
    assert read_json(str(model / "config.json"))["problem_type"] == "regression"
    assert "One number a row, `value`" in (model / "README.md").read_text()
    _check_stock_pipeline(model, str(content["data"]["test"][0]))
    _check_export(model, pipeline)


def _check_stock_pipeline(model: Path, rows: str) -> None:
    """A pipeline returns the number itself."""
    from transformers import pipeline

    texts, labels = zip(*(line.split("\t") for line in Path(rows).read_text().splitlines()), strict=True)
    answers = pipeline("text-classification", model=str(model))(list(texts))
    assert {one["label"] for one in answers} == {"value"}
    assert np.corrcoef([one["score"] for one in answers], np.array(labels, float))[0, 1] > 0.8


def _check_export(model: Path, pipeline) -> None:
    pytest.importorskip("onnxscript")
    from raykd.model_export import export

    (made,) = export(str(model), int8=False, terminal=pipeline.runner.terminal)
    assert made.agreement == pytest.approx(1.0)
    assert made.largest_difference < 1e-4


def test_labels_that_are_no_numbers_are_named_with_file_and_line(content, local, tmp_path):
    for cell in ("good", "nan", "inf", "1e40", "1_0", ""):
        (tmp_path / "train.tsv").write_text(f"happy film\t0.5\nsad film\t{cell}\n")
        with pytest.raises(DataError, match=rf"train\.tsv:2: label '{cell}' is not a finite number"):
            local(build(content)).tokenised("train", content["student"]["model"])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": {"labels": ["0", "1"]}}, "with data.task = regression a label is a number; leave it out"),
        ({"data": {"positive_label": "1"}}, "positive_label is for rows with one of two labels; leave it out"),
        ({"student": {"objective": {"kind": "vanilla_kd"}}}, "vanilla_kd needs probabilities, which .* use mse_kd"),
        ({"student": {"objective": {"kind": "decoupled_kd"}}}, "decoupled_kd needs exactly one class per row, .* use mse_kd"),
        ({"student": {"objective": {"kind": "dist_kd"}}}, "dist_kd needs exactly one class per row, .* use mse_kd"),
    ],
)
def test_settings_that_do_not_fit_numbers_are_refused(changes, message, content):
    for section, values in changes.items():
        content[section] |= values
    with pytest.raises(ConfigError, match=message):
        build(content)


def test_a_metric_of_classes_is_refused(content, local):
    content["student"]["training"] = {"metric": "accuracy"}
    with pytest.raises(
        ConfigError, match=r"student\.training\.metric = 'accuracy': evaluations have pearson, spearman, rmse, loss"
    ):
        local(build(content))


def test_a_configuration_written_and_read_again_is_the_same(content):
    config = build(content)
    assert build(config.model_dump(mode="json")) == config
    assert config.data.labels == ()


@pytest.mark.long
def test_ratings_of_sst5_are_learned(shared_data, shared_models, tmp_path, local, monkeypatch):
    """The job file on its first rows."""
    monkeypatch.chdir(Path(__file__).parents[3])
    job = load_job("jobs/sst5-regression.yaml")
    content = job.model_dump(mode="json")
    for part, rows in (("train", 640), ("validation", 100), ("test", 100)):
        (tmp_path / f"{part}.tsv").write_text("".join(_first(content["data"][part][0], rows)))
        content["data"][part] = [str(tmp_path / f"{part}.tsv")]
    content |= {"storage": str(tmp_path / "runs"), "compute": {"engine": {"kind": "torch"}}}
    content["data"]["sequence_length"] = 48
    content["teacher"]["training"] |= {"epochs": 1}
    content["student"]["training"] |= {"epochs": 1}
    content["student"] |= {"seeds": [1], "baseline": False}
    comparison = local(build(content)).run()
    assert comparison.systems[0].metrics["pearson"].mean > 0.4


def _first(path: str, rows: int) -> list[str]:
    with open(path, encoding="utf-8") as lines:
        return [line for line, _ in zip(lines, range(rows), strict=False)]
