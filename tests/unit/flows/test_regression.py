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


def test_a_regression_is_distilled_reported_and_exported(rated, local, capsys, quick_export):
    pipeline = local(build(rated))
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
    _check_stock_pipeline(model, str(rated["data"]["test"][0]))
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


def test_labels_that_are_no_numbers_are_named_with_file_and_line(rated, local, tmp_path):
    for cell in ("good", "nan", "inf", "1e40", "1_0", ""):
        (tmp_path / "train.tsv").write_text(f"happy film\t0.5\nsad film\t{cell}\n")
        with pytest.raises(DataError, match=rf"train\.tsv:2: label '{cell}' is not a finite number"):
            local(build(rated)).tokenised("train", rated["student"]["model"])


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
def test_settings_that_do_not_fit_numbers_are_refused(changes, message, rated):
    for section, values in changes.items():
        rated[section] |= values
    with pytest.raises(ConfigError, match=message):
        build(rated)


def test_a_metric_of_classes_is_refused(rated, local):
    rated["student"]["training"] = {"metric": "accuracy"}
    with pytest.raises(
        ConfigError, match=r"student\.training\.metric = 'accuracy': evaluations have pearson, spearman, rmse, loss"
    ):
        local(build(rated))


def test_a_configuration_written_and_read_again_is_the_same(rated):
    config = build(rated)
    assert build(config.model_dump(mode="json")) == config
    assert config.data.labels == ()


@pytest.mark.long
def test_ratings_of_sst5_are_learned(shared_data, shared_models, tmp_path, local, monkeypatch):
    """The job file on its first rows."""
    monkeypatch.chdir(Path(__file__).parents[3])
    job = load_job("jobs/sst5-regression.yaml")
    rated = job.model_dump(mode="json")
    for part, rows in (("train", 640), ("validation", 100), ("test", 100)):
        (tmp_path / f"{part}.tsv").write_text("".join(_first(rated["data"][part][0], rows)))
        rated["data"][part] = [str(tmp_path / f"{part}.tsv")]
    rated |= {"storage": str(tmp_path / "runs"), "compute": {"engine": {"kind": "torch"}}}
    rated["data"]["sequence_length"] = 48
    rated["teacher"]["training"] |= {"epochs": 1}
    rated["student"]["training"] |= {"epochs": 1}
    rated["student"] |= {"seeds": [1], "variants": {"kd": {}}}
    comparison = local(build(rated)).run()
    assert comparison.systems[0].metrics["pearson"].mean > 0.4


def _first(path: str, rows: int) -> list[str]:
    with open(path, encoding="utf-8") as lines:
        return [line for line, _ in zip(lines, range(rows), strict=False)]
