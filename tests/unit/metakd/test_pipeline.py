"""The whole pipeline with its trainings and scorings in this process: what is made, what is compared, what is skipped."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from raykd.config import MetaKDConfig
from raykd.data.side_tables import SideTable
from raykd.errors import ConfigError, DataError, RaykdError
from raykd.metakd.report import read
from raykd.metrics.single_label_metrics import expected_calibration_error
from raykd.models.model_settings import read_settings
from raykd.report.domain_accuracy import contrast, system_row
from raykd.report.load_tables import load_labels, load_logits
from raykd.stage_names import META_STAGES, SPLITS
from raykd.task_kinds import SINGLE_LABEL
from tests.local_pipeline import LocalMetaPipeline
from tests.unit.metakd.worlds import make_config, save_model


def test_every_row_of_the_table_is_made_once(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    pipeline = LocalMetaPipeline(config)
    pipeline.check()
    report = pipeline.report()
    assert [(one.teacher, one.method) for one in report.lines] == [
        ("one domain's teacher", "–"),
        ("mixed-domain teacher", "–"),
        ("meta-teacher", "–"),
        ("–", "hard labels"),
        ("one domain's teacher", "TinyBERT-KD"),
        ("mixed-domain teacher", "TinyBERT-KD"),
        ("meta-teacher", "TinyBERT-KD"),
        ("meta-teacher", "meta-distillation"),
    ]
    assert report.rows == {"dvd": 20}
    assert [len(one.average.values) for one in report.lines] == [1, 1, 1, 2, 2, 2, 2, 2]
    assert len(report.contrasts) == 4
    assert len(pipeline.trained) == 3 + 2 + 4 * 2 * 2
    assert pipeline.trained[-1] == "meta kd, dvd, seed 2"
    for line in report.lines:
        assert set(line.calibration) == {"ece", "ece_calibrated", "temperature"}
        assert len(line.calibration["temperature"].values) == (2 if line.role == "student" else 1)
    text = (tmp_path / "runs" / "small" / "report" / "report.md").read_text()
    assert "ECE after temperature scaling" in text
    assert "| meta-teacher | meta-distillation |" in text
    assert "meta-distillation from the meta-teacher against hard labels: " in text
    assert read(str(tmp_path / "runs" / "small" / "report")) == report

    again = LocalMetaPipeline(config)
    assert again.report() == report
    assert (again.trained, again.scored) == ([], 0), "finished stages are skipped"
    fewer = LocalMetaPipeline(config.model_copy(update={"baselines": ("hard_labels",)}))
    assert [one.method for one in fewer.report().lines] == ["–", "hard labels", "meta-distillation"]
    assert fewer.trained == [], "models serve another table"


def test_each_model_has_the_temperature_of_its_validation_rows(tmp_path: Path) -> None:
    config = make_config(tmp_path, seeds=[1], domains=["books", "dvd"]).model_copy(update={"baselines": ()})
    pipeline = LocalMetaPipeline(config)
    report = pipeline.report()
    folder = tmp_path / "runs" / "small"
    meta, student = report.lines
    for system, line, models in (
        ("meta teacher", meta, ["teachers/meta"]),
        ("meta_kd", student, ["students/meta_kd/books/seed1", "students/meta_kd/dvd/seed1"]),
    ):
        scores = [one for one in pipeline.evaluation() if one.system == system]
        for number, model in enumerate(models):
            own = [one for one in scores if one.model == str(folder / model / "model")]
            assert [one.domain for one in own] == (["books", "dvd"] if system == "meta teacher" else [model.split("/")[2]])
            sets = {
                split: [pipeline.rows.tokenised(split, (one.domain,), config.student.model) for one in own]
                for split in SPLITS[1:]
            }
            labels = {split: np.concatenate([load_labels(rows.path) for rows in sets[split]]) for split in SPLITS[1:]}
            logits = {split: np.concatenate([load_logits(getattr(one, split).path) for one in own]) for split in SPLITS[1:]}
            temperature = SINGLE_LABEL.temperature(labels["validation"], logits["validation"])
            settings = read_settings(str(folder / model / "model"))
            assert (settings.temperature, settings.sequence_length) == (temperature, 32)
            assert line.calibration["temperature"].values[number] == temperature
            expected = expected_calibration_error(labels["test"], logits["test"] / temperature)
            assert line.calibration["ece_calibrated"].values[number] == pytest.approx(expected)


def test_tasks_of_a_relative_storage_have_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers may run in another folder."""
    config = make_config(tmp_path, seeds=[1]).model_copy(update={"baselines": (), "storage": "runs"})
    monkeypatch.chdir(tmp_path)
    pipeline = LocalMetaPipeline(config)
    pipeline.run()
    for task in [*pipeline.teachers().values(), *pipeline.students().values()]:
        paths = [task.folder, task.model, task.train, task.validation, task.logits, *task.side_tables]
        assert all(os.path.isabs(path) for path in paths if path is not None), task
    (prediction,) = pipeline.students().values()
    settings = json.loads((tmp_path / "runs/small/students/meta_kd/dvd/seed1/intermediate/task.json").read_text())
    assert prediction.folder == str(tmp_path / "runs/small/students/meta_kd/dvd/seed1")
    assert all(os.path.isabs(settings["objective"][name]) for name in ("teacher", "domain_head"))


def test_the_single_objective_has_no_second_stage(tmp_path: Path) -> None:
    config = make_config(tmp_path, mode="single").model_copy(update={"baselines": ()})
    pipeline = LocalMetaPipeline(config)
    report = pipeline.report()
    assert pipeline.trained == ["meta teacher", "meta kd, dvd, seed 1", "meta kd, dvd, seed 2"]
    history = (tmp_path / "runs" / "small" / "students" / "meta_kd" / "dvd" / "seed1" / "history.jsonl").read_text()
    assert all(f'"{name}"' in history for name in ("embedding", "hidden", "attention", "domain", "kd_kl"))
    assert '"event": "eval"' in history, "chosen on dev rows"
    assert report.contrasts == ()


def test_stages_one_after_the_other_make_what_one_run_makes(tmp_path: Path) -> None:
    config = make_config(tmp_path, seeds=[1]).model_copy(update={"baselines": ("hard_labels",)})
    counts = {}
    for stage in META_STAGES:
        if stage not in ("split", "report"):
            with pytest.raises(ConfigError, match=r"needs the stage \w+, which is not finished; run that first"):
                LocalMetaPipeline(config, only=[META_STAGES[-1]]).run()
        one = LocalMetaPipeline(config, only=[stage])
        result = one.run()
        counts[stage] = (len(one.trained), one.scored)
    assert result is not None
    assert counts == {
        "split": (0, 0),
        "weights": (0, 1),
        "teachers": (1, 0),
        "logits": (0, 1),
        "students": (3, 0),
        "evaluation": (0, 6),
        "report": (0, 0),
    }
    whole = LocalMetaPipeline(config)
    assert whole.run() == result
    assert (whole.trained, whole.scored) == ([], 0)


def test_one_switch_gives_every_stage_easynlps_arithmetic(tmp_path: Path) -> None:
    config = make_config(tmp_path, seeds=[1]).model_copy(update={"baselines": (), "compat": "easynlp"})
    small = save_model(tmp_path / "two_heads", hidden=8, layers=1, seed=2)
    config = config.model_copy(update={"student": config.student.model_copy(update={"model": small})})
    pipeline = LocalMetaPipeline(config)
    assert pipeline.run() is not None
    folder = tmp_path / "runs" / "small"
    stages = [
        folder / "teachers" / "meta",
        *(folder / "students" / "meta_kd" / "dvd" / "seed1" / name for name in ("intermediate", ".")),
    ]
    found = [json.loads((path / "task.json").read_text())["objective"]["compat"] for path in stages]
    assert found == [{"sequence_length": 32}] * 3
    weights = SideTable.open(str(folder / "weights" / "all"))
    assert weights.provenance["kind"] == "easynlp"
    again = LocalMetaPipeline(config.model_copy(update={"compat": None}))
    again.run()
    assert len(again.trained) == 3, "other numbers, other results"


def test_a_killed_run_continues_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second student of intermediate layers dies: what was finished stays, what comes after it is made by the next run."""
    config = make_config(tmp_path).model_copy(update={"baselines": ()})
    first = LocalMetaPipeline(config)
    monkeypatch.setattr("raykd.trainers.trainer.Trainer._take_step", dying(first, "meta kd, dvd, seed 2, intermediate layers"))
    with pytest.raises(RaykdError, match="power cut"):
        first.run()
    monkeypatch.undo()
    assert first.trained == [
        "meta teacher",
        "meta kd, dvd, seed 1, intermediate layers",
        "meta kd, dvd, seed 2, intermediate layers",
    ]
    second = LocalMetaPipeline(config)
    assert second.run() is not None
    assert second.trained == ["meta kd, dvd, seed 2, intermediate layers", "meta kd, dvd, seed 1", "meta kd, dvd, seed 2"]
    changed = LocalMetaPipeline(config.model_copy(update={"student": config.student.model_copy(update={"seeds": (2, 3)})}))
    changed.run()
    assert changed.trained == ["meta kd, dvd, seed 3, intermediate layers", "meta kd, dvd, seed 3"]


def dying(pipeline: LocalMetaPipeline, name: str) -> Any:
    from raykd.trainers.trainer import Trainer

    step = Trainer._take_step

    def cut(trainer: Trainer, rows: Any) -> Any:
        if pipeline.trained[-1] == name and rows.step == 1:
            raise RaykdError("power cut")
        return step(trainer, rows)

    return cut


def test_a_domain_with_one_class_is_named(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    lines = (tmp_path / "train.tsv").read_text().splitlines(keepends=True)
    (tmp_path / "train.tsv").write_text("".join(row for row in lines if "\tdvd\tpositive" not in row))
    with pytest.raises(DataError, match=r"'dvd' lacks a class: .*'positive': 0"):
        LocalMetaPipeline(config).report()


def test_files_of_any_format_are_trained_on(tmp_path: Path) -> None:
    config = make_config(tmp_path, seeds=[1]).model_copy(update={"baselines": ()})
    rows = {split: pd.read_csv(tmp_path / f"{split}.tsv", sep="\t", names=["text", "domain", "label"]) for split in SPLITS}
    rows["train"].to_parquet(tmp_path / "train.parquet")
    rows["validation"].to_csv(tmp_path / "validation.csv", index=False)
    rows["test"].to_json(tmp_path / "test.jsonl", orient="records", lines=True)
    files = {"train": "train.parquet", "validation": "validation.csv", "test": "test.jsonl"}
    data = {"input_schema": None, **{split: [str(tmp_path / name)] for split, name in files.items()}}
    given = config.model_dump(mode="json")
    pipeline = LocalMetaPipeline(MetaKDConfig.model_validate(given | {"name": "other", "data": given["data"] | data}))
    pipeline.check()
    assert [line.method for line in pipeline.report().lines] == ["–", "meta-distillation"]
    of_tsv = LocalMetaPipeline(config)
    for split in SPLITS:
        sets = [one.rows.tokenised(split, config.domains, config.student.model) for one in (of_tsv, pipeline)]
        groups = [[one.read_group(group) for group in range(len(one.group_rows))] for one in sets]
        assert [table.to_pydict() for table in groups[0]] == [table.to_pydict() for table in groups[1]], split


def test_averages_and_verdicts_are_over_domains_and_seeds() -> None:
    draw = np.random.default_rng(0)
    good = {domain: draw.random((3, 100)) < 0.9 for domain in ("a", "b")}
    bad = {domain: draw.random((3, 100)) < 0.6 for domain in ("a", "b")}
    system = system_row("student", "–", "x", good)
    assert system.average.values[1] == pytest.approx((good["a"][1].mean() + good["b"][1].mean()) / 2)
    found = contrast(("good", good), ("bad", bad)).result
    assert (found.verdict, found.rows, found.candidate_seeds) == ("better", 200, 3)


def test_texts_that_splits_share_are_counted_over_all_domains(tmp_path: Path) -> None:
    config = make_config(tmp_path)
    rows = [line.split("\t") for line in (tmp_path / "train.tsv").read_text().splitlines()]
    text, label = next((text, label) for text, domain, label in rows if domain != "dvd")
    with (tmp_path / "test.tsv").open("a") as file:
        file.write(f"{text.upper()} \tdvd\t{label}\n")
    pipeline = LocalMetaPipeline(config)
    pipeline.check()
    pipeline.tokenise_all()
    sentence = "1 of 21 test texts (4.8%) are among the train texts"
    assert f"warning: {sentence}" in pipeline.runner.said
    report = pipeline.report()
    assert report.warnings == (sentence,)
    assert f"> {sentence}" in (Path(pipeline.runner.folder) / "report/report.md").read_text()
