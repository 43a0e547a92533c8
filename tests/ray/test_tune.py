"""Searches on real Ray: trials in actors, what they share, failures, continuing, schedulers, the end, and what is tracked."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from raykd.config import ExperimentConfig, VanillaKDConfig
from raykd.config.load_tune import build_tune
from raykd.config.tune import BaseConfig, TuneConfig
from raykd.data.watchdog import LIMIT_S, limit_waits
from raykd.errors import ConfigError, ResourceError
from raykd.progress import Terminal
from raykd.run.task import run_folder
from raykd.tracking import read_offline_run, read_offline_table
from raykd.tune.driver import Search, run_search
from raykd.tune.jobs.distill_job import DistillationPlan
from raykd.tune.jobs.job_plan import TaskChain
from raykd.tune.trial_record import SharedWorkCount, TrialJournal, TrialRecord
from tests.ray.cpus import every_cpu_taken

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]
ALPHA, TEMPERATURE, RATE = "student.objective.alpha", "student.objective.temperature", "student.training.learning_rate"
Build = Callable[..., TuneConfig]


@pytest.fixture
def search(experiment: Callable[..., ExperimentConfig]) -> Build:
    """A search of the small experiment; ``changes`` are the base's, by path."""

    def make(*, changes: dict[str, Any] | None = None, **content: Any) -> TuneConfig:
        base = experiment(student__seeds=[1]).model_dump(mode="json")
        given = {"student.training.evaluate_every": 10, "student.training.epochs": 1, **(changes or {})}
        return build_tune({"kind": "tune", "name": "search", "base": base, "set": given, "final_seeds": [2, 3], **content})

    return make


def trials_of(config: TuneConfig) -> list[TrialRecord]:
    """Shared work and trials, without the end."""
    one = Search(config, Terminal())
    one.check()
    one.start_ray()
    try:
        return one.trials(one.plan())
    finally:
        one.close()


@pytest.mark.cluster  # a minute and more
def test_a_whole_search(search: Build, capsys: pytest.CaptureFixture[str]) -> None:
    config = search(trials=3, concurrency=2, final_seeds=[2], changes={"tracking.kind": "wandb"})
    report = run_search(config)
    folder = Path(run_folder(config.base))  # type: ignore[arg-type]  # the base is a distillation
    assert [record.status for record in report.trials] == ["finished"] * 3
    assert report.work == SharedWorkCount()  # no teacher was trained, exported or run for the trials
    assert (
        len({json.loads((folder / f"trials/{i:04d}/history.jsonl").read_text().splitlines()[0])["pid"] for i in range(3)}) == 2
    )
    last = [json.loads(one.read_text().splitlines()[0])["pid"] for one in folder.glob("final/*/seed*/history.jsonl")]
    assert len(last) == 3
    assert len(set(last)) == 2, "two groups of workers side by side, as trials were"
    assert [line.system for line in report.lines] == ["teacher", "no_kd", "default", "tuned"]
    assert [one.reference for one in report.contrasts] == ["default", "no_kd"]
    assert report.contrasts[0].result.rows == 101
    table = pyarrow.parquet.read_table(folder / "report/trials.parquet").to_pylist()
    assert [row[ALPHA] for row in table] == [record.values[ALPHA] for record in report.trials]
    html = (folder / "report/report.html").read_text()
    assert html.count("data:image/svg+xml") >= 3
    kept = json.loads((folder / "best/provenance.json").read_text())
    assert kept["values"] == report.values
    assert kept["trials"] == 3
    assert AutoModelForSequenceClassification.from_pretrained(folder / "best").config.id2label == {0: "0", 1: "1"}
    for record in report.trials:
        run = read_offline_run(folder / f"trials/{record.index:04d}/tracking")
        assert (run.group, run.name, run.config["values"]) == ("search", f"trial {record.index}", record.values)
        assert max(row["eval/accuracy"] for row in run.history if "eval/accuracy" in row) == pytest.approx(record.value)
        assert run.summary["best/value"] == pytest.approx(record.value)
    whole = read_offline_run(folder / "tracking")
    assert [row["trial/accuracy"] for row in whole.history if "trial/accuracy" in row] == [one.value for one in report.trials]
    tracked = read_offline_table(folder / "tracking", "trials")
    assert tracked == table
    assert [row["value"] for row in tracked] == [one.value for one in report.trials]
    assert whole.summary["test/accuracy/tuned"] == pytest.approx(report.lines[-1].average.mean)
    capsys.readouterr()
    assert run_search(config) == report  # nothing is left to do
    assert "3 of 3 trials ended before" in capsys.readouterr().err


@pytest.mark.long
def test_a_search_continues_and_keeps_what_has_ended(search: Build, capsys: pytest.CaptureFixture[str]) -> None:
    config = search(trials=3, searcher="random", scheduler={"kind": "median", "grace_steps": 10, "min_trials": 1})
    first = trials_of(config)
    folder = Path(run_folder(config.base))  # type: ignore[arg-type]  # the base is a distillation
    journal = TrialJournal(str(folder / "trials"))
    journal.write(first[1].model_copy(update={"status": "running", "value": None, "curve": ()}))  # as a killed driver leaves it
    shutil.rmtree(folder / "trials/0002")
    before = (folder / "trials/0000/trial.json").read_bytes()
    again = trials_of(config)
    assert (folder / "trials/0000/trial.json").read_bytes() == before
    assert [record.values for record in again] == [record.values for record in first]
    assert [record.attempts for record in again] == [1, 2, 1]
    assert all(record.ended for record in again)
    assert "1 of 3 trials ended before" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="another search of this name"):
        Search(config.model_copy(update={"seed": 7}), Terminal()).check()


@pytest.mark.long
def test_a_trial_that_fails_is_tried_again_and_kept_with_its_reason(search: Build, capsys: pytest.CaptureFixture[str]) -> None:
    space = {RATE: {"kind": "grid", "values": [1e30, 5e-3]}}
    records = trials_of(search(searcher="grid", space=space, changes={"student.training.max_grad_norm": 0}))
    failed, fine = records
    assert (failed.status, failed.attempts) == ("failed", 2)
    assert "Training stopped before the update" in str(failed.reason)
    assert fine.status == "finished"
    assert "trial 0 failed and is tried again" in capsys.readouterr().err


@pytest.mark.long
def test_a_trial_that_runs_out_of_memory_is_tried_again_and_the_others_go_on(
    search: Build, capsys: pytest.CaptureFixture[str]
) -> None:
    @dataclass(frozen=True)
    class Hungry(DistillationPlan):  # here, so that it is pickled with its code
        """Asks PyTorch for more memory than any machine has, where alpha is 1."""

        def chains(self, config: BaseConfig, **given: Any) -> dict[str, TaskChain]:
            assert isinstance(config, ExperimentConfig)
            assert isinstance(config.student.objective, VanillaKDConfig)
            if config.student.objective.alpha == 1.0:
                torch.empty(2**60, dtype=torch.uint8)
            return DistillationPlan.chains(self, config, **given)

    space = {ALPHA: {"kind": "grid", "values": [1.0, 0.5]}}
    one = Search(search(searcher="grid", space=space), Terminal())
    one.check()
    one.start_ray()
    try:
        plan = one.plan()
        assert isinstance(plan, DistillationPlan)
        failed, fine = one.trials(Hungry(**vars(plan)))
    finally:
        one.close()
    assert (failed.status, failed.attempts) == ("failed", 2)
    assert str(failed.reason).startswith("out of memory; ")
    assert fine.status == "finished"
    assert "trial 0 failed and is tried again: out of memory; " in capsys.readouterr().err


@pytest.mark.long
def test_rungs_stop_trials_by_steps(search: Build) -> None:
    space = {RATE: {"kind": "grid", "values": [5e-3, 4e-3, 1e-12, 1e-11]}}
    scheduler = {"kind": "asha", "grace_steps": 10, "reduction": 2}
    config = search(searcher="grid", space=space, scheduler=scheduler, concurrency=1, changes={"student.training.epochs": 3})
    records = trials_of(config)
    assert {record.status for record in records} == {"finished", "stopped"}
    stopped = [record for record in records if record.status == "stopped"]
    assert all(record.step % 10 == 0 and record.step < 60 for record in stopped)


@pytest.mark.long
def test_members_of_a_population_take_over_from_the_best(
    search: Build, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "logits.tsv").write_text("1.5,-0.5\n-0.5,2.0\n" * 200)
    space = {RATE: {"kind": "grid", "values": [5e-3, 4e-3, 1e-12, 1e-11]}}
    scheduler = {"kind": "pbt", "interval_steps": 10, "resample": 0}
    changes = {"student.training.epochs": 4, "teacher": None, "logits.file": str(tmp_path / "logits.tsv")}
    config = search(searcher="grid", space=space, scheduler=scheduler, concurrency=2, changes=changes)
    base = config.base
    assert isinstance(base, ExperimentConfig)
    one = Search(config, Terminal())
    one.check()
    one.start_ray()
    try:
        plan = one.plan()
        records = one.trials(plan)
        report = one.report(plan, [record for record in records if record.values_changed])
    finally:
        one.close()
    assert [(record.index, record.status, record.step) for record in records] == [(i, "finished", 80) for i in range(4)]
    moved = [record for record in records if record.values_changed]
    assert moved
    for record in records:
        assert (record.lineage[-1].trial, record.lineage[-1].values) == (record.index, record.values)
        assert [one.step for one in record.lineage] == sorted({one.step for one in record.lineage})
        folder = Path(run_folder(base), f"trials/{record.index:04d}")
        lines = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
        sources = {line["step"]: line["source"] for line in lines if line["event"] == "resumed" and "source" in line}
        if record.values_changed:
            donor = record.lineage[-2].trial
            assert sources[record.lineage[-1].step] == str(folder.parent / f"{donor:04d}/checkpoints")
        assert not (folder / "checkpoints").exists()
    assert f"took over trial {moved[0].lineage[-2].trial}; learning_rate" in capsys.readouterr().err

    assert report.lineage == next(record.lineage for record in moved if record.index == report.best)
    start, tuned = rates(Path(run_folder(base), "final/tuned/seed2/history.jsonl"))
    assert start["engine"] == "deepspeed-zero0"
    _, default = rates(Path(run_folder(base), "final/default/seed2/history.jsonl"))
    assert len(tuned) == len(default) == 80
    for step, rate in tuned.items():  # a record counts the steps that are done
        now = [one for one in report.lineage if one.step < step][-1]
        assert rate / default[step] == pytest.approx(now.values[RATE] / base.student.training.learning_rate)


def rates(history: Path) -> tuple[dict[str, Any], dict[int, float]]:
    """First event of a training, and its learning rate by step."""
    lines = [json.loads(line) for line in history.read_text().splitlines()]
    return lines[0], {line["step"]: line["learning_rate"] for line in lines if line["event"] == "train"}


@pytest.mark.long
def test_larger_trials_train_in_a_group_of_workers(search: Build) -> None:
    records = trials_of(search(trials=1, changes={"compute.num_workers": 2}))
    assert [record.status for record in records] == ["finished"]
    assert records[0].value is not None
    assert records[0].step == records[0].curve[-1][0]


@pytest.mark.long
def test_trials_that_find_no_place_end_the_search_with_what_they_waited_for(search: Build, tmp_path: Path) -> None:
    (tmp_path / "logits.tsv").write_text("1.5,-0.5\n-0.5,2.0\n" * 200)
    given = {"teacher": None, "logits.file": str(tmp_path / "logits.tsv"), "compute.start_timeout_s": 5.0}
    one = Search(search(trials=2, concurrency=1, changes=given), Terminal())
    one.check()
    one.start_ray()
    try:
        plan = one.plan()
        expected = r"waited 5 s \(compute.start_timeout_s\) for the CPUs or GPUs of a trial"
        with every_cpu_taken(), pytest.raises(ResourceError, match=expected):
            one.trials(plan)
        one.config = search(trials=2, concurrency=1, changes=given | {"compute.start_timeout_s": 600})
        assert [record.status for record in one.trials(plan)] == ["finished"] * 2, "and continues when there are places"
    finally:
        one.close()
        limit_waits(LIMIT_S)


@pytest.mark.parametrize("changes", [{"compute.cpus_per_worker": 64}, {"compute.use_gpu": True}])
def test_too_few_resources_for_one_trial_are_an_error_before_any(search: Build, changes: dict[str, Any]) -> None:
    config = search(changes=changes)
    with pytest.raises(ResourceError, match="one trial needs"):
        trials_of(config)
    assert not TrialJournal(str(Path(run_folder(config.base), "trials"))).read()  # type: ignore[arg-type]  # the base is a distillation
