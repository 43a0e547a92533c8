"""Results of runs: models, tables, plots, and their look in a notebook."""

from collections.abc import Callable
from pathlib import Path

import pytest

from raykd.api.run_result import RunResult
from raykd.api.trained_model import TrainedModel
from raykd.config import ExperimentConfig, load_job
from raykd.errors import ConfigError, ModelError
from raykd.metakd.report import MetaReport
from raykd.report.bootstrap import Verdict
from raykd.report.comparison import Comparison
from raykd.report.domain_accuracy import MethodContrast, SystemRow
from raykd.report.system import spread
from tests.conftest import save_model
from tests.local_pipeline import LocalPipeline

JOBS = Path(__file__).parents[3] / "jobs"


@pytest.fixture
def result(experiment: Callable[..., ExperimentConfig], tmp_path: Path) -> RunResult:
    """The small run, trained in this process."""
    config = experiment(student__training__epochs=1, teacher__training__epochs=1)
    pipeline = LocalPipeline(config)
    report = pipeline.run()
    assert isinstance(report, Comparison)
    return RunResult(str(tmp_path / "runs/small"), config, report)


def test_a_finished_run_has_models_table_and_plot(result: RunResult) -> None:
    assert list(result.models) == ["no_kd", "kd"]
    assert [one.seed for one in result.models["kd"]] == [1, 2]
    assert result.models["kd"][0].path == f"{result.folder}/students/kd-seed1/model"
    assert [one.path for one in result.teachers] == [f"{result.folder}/teacher/model"]
    answers = result.models["kd"][0].pipeline()(["good fine plot", "bad end"])
    assert all(one["label"] in ("0", "1") and 0.5 <= one["score"] <= 1 for one in answers)

    frame = result.to_pandas()
    assert list(frame["name"]) == ["teacher", "no_kd", "kd"]
    assert isinstance(result.report, Comparison)
    assert frame["accuracy"].tolist() == [one.metrics["accuracy"].mean for one in result.report.systems]
    assert frame["accuracy_sd"].isna().tolist() == [True, False, False]
    assert frame["parameters"].gt(0).all()

    assert "<svg" in result.plot()._repr_svg_()  # type: ignore[attr-defined]  # rich text of notebooks
    assert result.verdicts == result.report.verdicts
    assert repr(result).startswith("<RunResult small: 101 rows")
    assert result.verdicts[0] in repr(result)
    assert "<td>student, KD</td>" in (result._repr_html_() or "")


def test_a_run_without_a_report_has_its_models_alone(result: RunResult) -> None:
    bare = RunResult(result.folder, result.config, None)
    assert list(bare.models) == ["no_kd", "kd"]
    assert (bare.verdicts, bare._repr_html_()) == ((), None)
    assert repr(bare) == f"<RunResult {bare.folder}: no report>"
    for ask in (bare.to_pandas, bare.plot):
        with pytest.raises(ConfigError, match="has no report; run its stages evaluation and report"):
            ask()


def test_models_that_are_not_trained_are_not_listed(experiment: Callable[..., ExperimentConfig], tmp_path: Path) -> None:
    config = experiment(teacher__fine_tune=False)
    result = RunResult(str(tmp_path), config, None)
    assert result.models == {}
    assert [(one.name, one.path) for one in result.teachers] == [("teacher", config.teacher.model)]  # type: ignore[union-attr]  # the job has a teacher


def test_a_meta_kd_run_has_methods_and_domains(tmp_path: Path) -> None:
    config = load_job(JOBS / "metakd-amazon.yaml", ["student.domains=[books]", "student.seeds=[1,2]"])
    for folder in ("teachers/meta", "students/meta_kd/books/seed2"):
        save_model(tmp_path / folder / "model", hidden=4, seed=1)
    accuracy = spread([0.5, 0.75])
    lines = (
        SystemRow(role="teacher", teacher="meta-teacher", method="–", domains={"books": accuracy}, average=accuracy),
        SystemRow(role="student", teacher="meta-teacher", method="meta-distillation", domains={}, average=accuracy),
    )
    verdict = Verdict(difference=0.1, low=0.05, high=0.2, verdict="better", rows=30, candidate_seeds=2, reference_seeds=2)
    contrast = MethodContrast(candidate="meta-distillation", reference="hard labels", result=verdict)
    report = MetaReport(name="meta", rows={"books": 30}, seeds=(1, 2), lines=lines, contrasts=(contrast,), environment={})
    result = RunResult(str(tmp_path), config, report)
    path = str(tmp_path / "students/meta_kd/books/seed2/model")
    assert result.models == {"meta_kd": (TrainedModel(path, "student", "meta_kd", 2, "books"),)}
    assert [(one.name, one.domain) for one in result.teachers] == [("meta", None)]
    frame = result.to_pandas()
    assert frame[["method", "average", "books"]].iloc[1].isna().tolist() == [False, False, True]
    assert "<svg" in result.plot()._repr_svg_()  # type: ignore[attr-defined]  # rich text of notebooks
    assert result.verdicts == ("meta-distillation against hard labels: better (+10.0 points, 95% interval +5.0 to +20.0)",)
    assert "<td>62.5" in (result._repr_html_() or "")


def test_a_model_that_is_gone(tmp_path: Path) -> None:
    model = TrainedModel(str(tmp_path / "model"), "student", "kd", 1)
    assert f"{model.__fspath__()}" == model.path
    with pytest.raises(ModelError, match="does not exist"):
        model.pipeline()
