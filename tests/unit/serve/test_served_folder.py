"""The folder of a model, of a run, of neither."""

import pytest

from raykd.errors import ConfigError
from raykd.report.comparison import Comparison
from raykd.report.files import write_report
from raykd.serve.served_folder import served_folder


def test_a_model_is_itself_and_anything_else_an_error(served_folder_path, tmp_path):
    assert served_folder(served_folder_path) == served_folder_path
    with pytest.raises(ConfigError, match="is neither a model folder nor a run"):
        served_folder(str(tmp_path))


def test_a_run_is_its_best_student_with_distillation(invent, tmp_path):
    comparison: Comparison = invent(gain=0.3)
    write_report(comparison, str(tmp_path / "report"))
    (tmp_path / "experiment.json").write_text("{}")
    for seed in (1, 2, 3):
        for variant in ("no_kd", "kd"):
            folder = tmp_path / f"students/{variant}-seed{seed}/model"
            folder.mkdir(parents=True)
            (folder / "config.json").write_text("{}")
    student = comparison.systems[-1]
    values = student.metrics["accuracy"].values
    best = student.seeds[values.index(max(values))]
    assert served_folder(str(tmp_path)) == str(tmp_path / f"students/kd-seed{best}/model")


def test_a_run_without_a_report_says_so(tmp_path):
    (tmp_path / "experiment.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"has no report\.json"):
        served_folder(str(tmp_path))
