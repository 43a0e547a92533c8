"""The end of a search in this process: what is trained, tested and said, for Meta-KD and for rows with several labels."""

import json
import re
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console
from transformers import AutoModelForSequenceClassification

from raykd.config.load_tune import build_tune
from raykd.config.tune import TuneConfig
from raykd.metrics.multi_label_metrics import multi_label_metrics
from raykd.progress import Terminal
from raykd.report.load_tables import load_labels, load_logits
from raykd.tracking import NullTracker
from raykd.trainers.context import local_context
from raykd.tune.best_card import write_cards
from raykd.tune.best_model import save_best
from raykd.tune.final_test import FinalTest
from raykd.tune.final_trainings import FinalTrainings
from raykd.tune.jobs import JobPlan
from raykd.tune.jobs.distill_job import DistillationWork
from raykd.tune.local_trial import TrialRun
from raykd.tune.search_report import SearchReport, build_report
from raykd.tune.search_tables import conclusion, markdown
from raykd.tune.trial_plan import TrialPlan
from raykd.tune.trial_record import TrialJournal, TrialRecord
from tests.local_pipeline import LocalGroup, LocalPipeline, LocalRunner
from tests.unit.flows.tagged_rows import LABELS, save_headless, write_tagged_rows
from tests.unit.metakd.worlds import make_config
from tests.unit.tune.small_search import GAMMA1, TEMPERATURE, LocalShared

Result = tuple[SearchReport, LocalGroup, FinalTrainings]
Finish = Callable[..., Result]


def search(base: dict[str, Any], space: dict[str, Any]) -> TuneConfig:
    given = {"set": {"compute.use_gpu": False}, "final_seeds": [2, 3], "trials": 1}
    return build_tune({"kind": "tune", "name": "search", "base": base, "space": space, **given})


@pytest.fixture
def lines() -> StringIO:
    """Text on the terminal."""
    return StringIO()


@pytest.fixture
def finish(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, lines: StringIO) -> Finish:
    """The end of a search with one trial of these values, which has ended."""

    def make(config: TuneConfig, shared: Any, plan: JobPlan[Any], values: dict[str, Any]) -> Result:
        group: Any = LocalGroup(plan.build_objective)
        folder, terminal = str(tmp_path / "runs" / "search"), Terminal(Console(file=lines))
        wide = config.base.compute.model_copy(update={"placement": "wide"})  # another placement depends on Ray's resources
        final = FinalTrainings(config, plan, ((0.0, values),), folder, lambda _: group, terminal, wide)
        final.run()
        rows = shared.test_rows()
        teacher, teacher_rows = shared.teacher()
        models = {"teacher": teacher} | ({"tuned_teacher": final.teacher.model} if final.teacher else {})
        settings = {"cache": str(tmp_path / "cache"), "compute": config.base.compute, "stages": ("test",)}
        runner = LocalRunner(name="search", folder=folder, terminal=Terminal(), **settings)
        right = FinalTest(config, runner).run(final.trained, rows, models, teacher_rows)
        records = [TrialRecord(index=0, values=values, status="finished", value=0.5)]
        counts = {domain: prepared.num_rows for domain, prepared in rows.items()}
        report = build_report(config, records, right, rows=counts, baselines=final.baselines())
        save_best(config, final, folder, {"values": values})
        return report, group, final

    return make


def test_meta_kd_ends_by_domain_and_trains_shared_intermediate_models_once(
    tmp_path: Path, finish: Finish, lines: StringIO
) -> None:
    base = make_config(tmp_path, domains=["dvd", "books"], seeds=[1])
    config = search(base.model_dump(mode="json"), {TEMPERATURE: {"kind": "loguniform", "low": 1, "high": 10}})
    shared = LocalShared(config.base)  # type: ignore[arg-type]  # these searches are of a distillation
    report, group, _ = finish(config, shared, shared.make_plan(), {TEMPERATURE: 8.0})
    first, second = group.asked
    assert sorted(first) == sorted(
        [f"no kd, {domain}, seed {seed}" for domain in ("dvd", "books") for seed in (2, 3)]
        + [f"default, intermediate layers, {domain}, seed {seed}" for domain in ("dvd", "books") for seed in (2, 3)]
    )
    assert sorted(second) == sorted(
        [
            f"{system}, {domain}, seed {seed}"
            for system in ("default", "tuned")
            for domain in ("dvd", "books")
            for seed in (2, 3)
        ]
    )
    said = lines.getvalue()
    assert re.search(r"^tuned, books, seed 3: accuracy 0\.\d{4} on the validation rows$", said, re.MULTILINE), said
    assert "default, intermediate layers, dvd, seed 2: trained\n" in said
    assert not re.search(r": step \d", said), "a line for a training, none for an evaluation"
    assert [line.system for line in report.lines] == ["teacher", "no_kd", "default", "tuned"]
    assert {domain: len(spread.values) for domain, spread in report.lines[-1].domains.items()} == {"dvd": 2, "books": 2}
    mean = np.mean([spread.values for spread in report.lines[-1].domains.values()], axis=0)
    assert report.lines[-1].average.values == pytest.approx(mean.tolist())
    assert report.contrasts[0].result.rows == sum(report.rows.values()) == 40
    assert "| accuracy % on test rows | dvd | books | average |" in markdown(report)
    means = {line.system: line.average.mean for line in report.lines}
    assert report.contrasts[0].result.difference == pytest.approx(means["tuned"] - means["default"]), "the table's difference"
    *verdicts, caveat = conclusion(report)
    for sentence in verdicts:
        assert all(words in sentence for words in ("with this teacher", "mean over 2 domains", "2 seeds each"))
    assert caveat.endswith("so the interval is rough; set final_seeds to three or more.")
    write_cards(report, str(tmp_path / "runs" / "search" / "best"))
    for domain in ("dvd", "books"):
        folder = tmp_path / "runs" / "search" / "best" / domain
        card = (folder / "README.md").read_text()
        assert f"# search: tuned student, {domain}\n" in card
        assert verdicts[0] in card
        assert "| student.prediction.temperature |" in card
        assert json.loads((folder / "provenance.json").read_text())["domain"] == domain
        assert AutoModelForSequenceClassification.from_pretrained(folder).config.id2label == {0: "negative", 1: "positive"}


def test_a_tuned_teacher_stands_beside_the_jobs_own(tmp_path: Path, finish: Finish) -> None:
    base = make_config(tmp_path, domains=["dvd"], seeds=[1])
    space = {GAMMA1: {"kind": "choice", "values": [0.0, 0.5]}}
    config = search(base.model_dump(mode="json"), space)
    shared = LocalShared(config.base)  # type: ignore[arg-type]  # these searches are of a distillation
    plan = shared.make_plan()
    values = {GAMMA1: 0.0}
    trials = TrialPlan(plan, 1, "accuracy", str(tmp_path / "words"), None)
    with local_context() as context:
        for _ in TrialRun(trials, 0, values, journal=TrialJournal(str(tmp_path / "t")), context=context, tracker=NullTracker()):
            pass
    report, group, end = finish(config, shared, plan, values)
    assert all("teacher" not in name for names in group.asked for name in names), "the trial has trained it"
    first = group.asked[0]
    assert len(first) == len(set(first)), "nobody takes one system's training for another's that begins again"
    assert [line.system for line in report.lines] == ["teacher", "tuned_teacher", "no_kd", "default", "tuned"]
    assert end.teacher is not None
    own = json.loads(Path(tmp_path / "runs/search/final/tuned/seed2/dvd/task.json").read_text())
    assert own["logits"] == end.teacher.logits("dvd")
    assert "| teacher, tuned |" in markdown(report)
    assert all("with these teachers" in said for said in conclusion(report)[: len(report.contrasts)])


def test_rows_with_several_labels_are_compared_by_exact_match(tmp_path: Path, finish: Finish) -> None:
    from tests.unit.metakd.worlds import save_model

    training = {"epochs": 6, "batch_size": 16, "learning_rate": 5e-3}
    base = {
        "storage": str(tmp_path / "runs"),
        "data": {
            "input_schema": "text:str:1,tags:str:1", "first_sequence": "text", "label": "tags", "labels": list(LABELS),
            "task": "multi_label", "train": [write_tagged_rows(tmp_path / "train.tsv", 300, 1)],
            "test": [write_tagged_rows(tmp_path / "test.tsv", 120, 2)], "validation": 0.2, "sequence_length": 32,
        },
        "teacher": {"model": save_headless(save_model, tmp_path / "teacher"), "training": training},
        "student": {"model": save_headless(save_model, tmp_path / "student"), "training": {**training, "learning_rate": 1e-6}},
        "compute": {"engine": {"kind": "torch"}},
    }  # fmt: skip
    space = {
        "student.objective.alpha": {"kind": "uniform", "low": 0, "high": 1},
        "student.training.learning_rate": {"kind": "loguniform", "low": 1e-6, "high": 1e-2},
    }
    config = search(base, space)
    assert (config.metric, config.mode) == ("exact_match", "max")
    shared = DistillationWork(config.base, Terminal())  # type: ignore[arg-type]  # these searches are of a distillation
    shared.pipeline = LocalPipeline(config.base)  # type: ignore[arg-type]  # these searches are of a distillation
    plan = shared.make_plan()
    values = {"student.objective.alpha": 0.9, "student.training.learning_rate": 5e-3}
    trials = TrialPlan(plan, 1, config.metric, str(tmp_path / "words"), None)
    with local_context() as context:
        reports = list(
            TrialRun(trials, 0, values, journal=TrialJournal(str(tmp_path / "t")), context=context, tracker=NullTracker())
        )
    assert all(report["current"] >= 0 for report in reports), "every evaluation has the figure"
    assert reports[-1]["value"] == max(report["current"] for report in reports)

    report, _, _ = finish(config, shared, plan, values)
    rows = shared.test_rows()[""]
    labels = load_labels(rows.path)
    assert [line.system for line in report.lines] == ["teacher", "no_kd", "no_kd_tuned", "default", "tuned"]
    for system in ("no_kd", "no_kd_tuned", "default", "tuned"):
        line = next(line for line in report.lines if line.system == system)
        logits = [load_logits(str(tmp_path / f"runs/search/test/{system}-all-seed{seed}")) for seed in (2, 3)]
        expected = [multi_label_metrics(labels, one, LABELS)["exact_match"] for one in logits]
        assert line.average.values == pytest.approx(expected)
    assert report.headline == "exact_match"
    assert all("points of exact match" in sentence for sentence in conclusion(report)[:2])
    assert [one.reference for one in report.contrasts] == ["default", "no_kd_tuned"], "a rate of 1e-6 trains no fair baseline"
    assert list(report.baselines) == ["no_kd_tuned", "no_kd"]
    assert report.baselines["no_kd_tuned"] > report.baselines["no_kd"]
    assert "with the tuned training values its mean on the validation rows is" in conclusion(report)[2]
    tasks = [
        json.loads((tmp_path / f"runs/search/final/{one}/seed2/task.json").read_text()) for one in ("no_kd_tuned", "tuned")
    ]
    assert tasks[0]["training"] == tasks[1]["training"]
    assert tasks[0]["objective"] == {"kind": "fine_tune"}
    assert "exact match % on test rows" in markdown(report)
