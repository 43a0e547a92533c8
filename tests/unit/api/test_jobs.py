"""``raykd.run`` and ``raykd.load_run`` without Ray; tests/ray/test_python_api.py has whole runs."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import raykd
from raykd.config import ExperimentConfig
from raykd.distill import pipeline
from raykd.errors import ConfigError, DataError
from raykd.report.comparison import Comparison
from raykd.report.files import write_report
from tests.local_pipeline import LocalPipeline

Make = Callable[..., ExperimentConfig]


def test_the_call_is_the_commands_run(experiment: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(pipeline, "run_experiment", lambda config, **given: calls.append((config, given)))
    config = experiment()
    result = raykd.run(config, overrides={"student.seeds": [7]}, stages=["students", "teacher"])
    assert calls[0][0] == config.model_copy(update={"student": config.student.model_copy(update={"seeds": (7,)})})
    assert calls[0][1]["only"] == ["teacher", "students"]
    assert (result.folder, result.report) == (str(tmp_path / "runs/small"), None)


def test_relative_paths_start_from_root(experiment: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pipeline, "run_experiment", lambda config, **_: None)
    content = {**experiment().model_dump(mode="json"), "storage": "made"}
    assert raykd.run(content, root=str(tmp_path)).folder == str(tmp_path / "made/small")


def test_errors_are_exceptions_and_nothing_starts(experiment: Make, tmp_path: Path) -> None:
    with pytest.raises(raykd.ConfigError, match=r"unknown key student\.objctive; did you mean objective"):
        raykd.run(experiment(), overrides={"student.objctive.alpha": 1})
    with pytest.raises(raykd.RaykdError, match="stage teachr: there is no such stage; stages are teacher, logits"):
        raykd.run(experiment(), stages=["teachr"])
    with pytest.raises(raykd.DataError, match=r"absent\.tsv does not exist"):
        raykd.run(experiment(), overrides=[f"data.train=[{tmp_path}/absent.tsv]"])
    import ray

    assert not ray.is_initialized()


def test_a_finished_run_is_loaded_from_its_folder(experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = experiment(student__seeds=[1], student__training__epochs=1, teacher__training__epochs=1)
    local = LocalPipeline(config)
    local.check()
    assert raykd.load_run(local.runner.folder).report is None
    report = local.run()
    assert isinstance(report, Comparison)
    monkeypatch.chdir(tmp_path)
    for folder in (local.runner.folder, Path(local.runner.folder), "runs/small/"):
        assert raykd.load_run(folder).report == report
    assert raykd.load_run("runs/small").config == config

    moved = tmp_path / "moved"
    os.rename(local.runner.folder, moved)
    assert raykd.load_run(moved).models["kd"][0].path == str(moved / "students/kd-seed1/model")

    write_report(report.model_copy(update={"format": 1}), str(moved / "report"))
    with pytest.raises(DataError, match="is a report of format 1"):
        raykd.load_run(moved)


def test_another_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"is not the folder of a run: it has no experiment\.json"):
        raykd.load_run(tmp_path)
