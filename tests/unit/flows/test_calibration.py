"""Temperatures of a whole run: fitted on validation rows, stored in the model folders, measured on the test rows."""

from pathlib import Path

import numpy as np
import pytest

from raykd.data.storage import read_json
from raykd.metrics.single_label_metrics import expected_calibration_error
from raykd.models.model_settings import read_settings
from raykd.report.load_tables import load_labels, load_logits
from raykd.task_kinds import task_kind

SHORT = {"epochs": 2, "batch_size": 32, "learning_rate": 1e-3}


@pytest.fixture
def run(experiment, local):
    def make(**changes):
        quick = {"teacher__training": SHORT, "student__training": SHORT, "compute__engine": {"kind": "torch"}}
        pipeline = local(experiment(**quick, **changes))
        return pipeline, pipeline.run()

    return make


def test_temperatures_are_fitted_on_validation_rows_and_stored_with_the_models(run, local):
    pipeline, comparison = run(student__seeds=[1, 2], student__variants={"kd": {}})
    folder = Path(pipeline.runner.folder)
    model = pipeline.config.student.model
    kind, student = task_kind("single_label"), comparison.systems[-1]
    validation, test = (load_labels(pipeline.tokenised(split, model).path) for split in ("validation", "test"))
    for index, seed in enumerate((1, 2)):
        name = f"student-kd-seed-{seed}"
        temperature = kind.temperature(validation, load_logits(str(folder / "evaluation/validation" / name)))
        assert student.metrics["temperature"].values[index] == pytest.approx(temperature)
        logits = load_logits(str(folder / "evaluation" / name))
        assert student.metrics["ece_calibrated"].values[index] == pytest.approx(
            expected_calibration_error(test, logits / temperature)
        )
        assert student.metrics["ece"].values[index] == pytest.approx(expected_calibration_error(test, logits)), (
            "logits stay raw"
        )
        settings = read_settings(str(folder / f"students/kd-seed{seed}/model"))
        assert (settings.sequence_length, settings.temperature) == (pipeline.config.data.sequence_length, temperature)
        assert settings.escalation_threshold == student.cascade.thresholds[index]
    scored = [Path(job.output).relative_to(folder).as_posix() for job in pipeline.runner.jobs]
    assert len(scored) == len(set(scored)), "each model scores a split once"
    assert "evaluation/validation/teacher" not in scored, (
        "the teacher's logits on the validation rows are those of the stage logits"
    )
    assert "ECE after temperature scaling" in (folder / "report" / "report.md").read_text()

    again = local(pipeline.config)
    again.run()
    assert again.runner.jobs == []


def test_without_test_rows_the_logits_of_the_report_are_those_of_the_validation_rows(run):
    pipeline, comparison = run(data__test="validation", student__variants={"kd": {}})
    assert not (Path(pipeline.runner.folder) / "evaluation/validation").exists()
    assert comparison.systems[-1].metrics["temperature"].mean > 0


def test_a_teacher_used_as_given_keeps_its_folder(run, tmp_path):
    pipeline, _ = run(student__variants={"kd": {}})
    teacher = str(Path(pipeline.runner.folder) / "teacher" / "model")
    assert np.isfinite(read_settings(teacher).temperature)
    given = Path(teacher).rename(tmp_path / "given")
    (given / "raykd.json").unlink()
    run(name="second", student__variants={"kd": {}}, teacher__model=str(given), teacher__fine_tune=False)
    assert not (given / "raykd.json").exists()
    assert read_json(str(tmp_path / "runs" / "second" / "report" / "report.json"))["systems"][0]["metrics"]["temperature"]
