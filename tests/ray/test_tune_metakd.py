"""Searches of Meta-KD jobs on real Ray: what trials share and count, teachers of their own, and the end by domain."""

import json
from pathlib import Path
from typing import Any

import pyarrow.csv
import pytest
from transformers import AutoModelForSequenceClassification

from raykd.config.load_tune import build_tune
from raykd.config.tune import TuneConfig
from raykd.progress import Terminal
from raykd.tune.driver import Search, run_search
from raykd.tune.trial_record import SharedWorkCount
from tests.ray.metakd_jobs import config as small

pytestmark = [pytest.mark.ray, pytest.mark.long, pytest.mark.usefixtures("ray_session")]
TEMPERATURE, GAMMA1 = "student.prediction.temperature", "teacher.domain_loss_weight"
BATCHES = 4
"""Of a domain's 60 rows, 16 at a time."""


def search(tmp_path: Path, *, changes: dict[str, Any], **content: Any) -> TuneConfig:
    base = small(tmp_path).model_dump(mode="json")
    given = {"student.intermediate.teacher_states": "stored", **changes}
    return build_tune({"kind": "tune", "name": "search", "base": base, "set": given, "final_seeds": [2, 3], **content})


def test_a_search_of_meta_kd_with_two_meta_teachers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    space = {
        GAMMA1: {"kind": "grid", "values": [0.0, 0.5]},  # 0.5 is the job's own
        TEMPERATURE: {"kind": "grid", "values": [1.0, 8.0]},
    }
    config = search(
        tmp_path, changes={"student.domains": ["kitchen", "books"]}, space=space, searcher="grid", trials=4, concurrency=2
    )
    report = run_search(config)
    said = " ".join(capsys.readouterr().err.split())
    assert "teacher.domain_loss_weight trains the teacher again for each value" in said
    assert said.index("up to 1 more training and export") < said.index("[1/4] trial")

    folder = tmp_path / "runs" / "search"
    assert [record.status for record in report.trials] == ["finished"] * 4
    assert (report.work.teacher_trainings, report.work.logit_exports) == (1, 1), "two trials asked for it at once"
    whole = 2 * BATCHES  # of both domains, a teacher
    assert 2 * whole <= report.work.teacher_forwards <= 4 * whole
    for record in report.trials:
        ends = [
            json.loads((folder / f"trials/{record.index:04d}" / domain / "history.jsonl").read_text().splitlines()[-1])["best"]
            for domain in ("kitchen", "books")
        ]
        assert record.value == pytest.approx(sum(ends) / 2)
    table = pyarrow.csv.read_csv(folder / "report/trials.csv").to_pylist()
    assert [(row[GAMMA1], row[TEMPERATURE]) for row in table] == [(0.0, 1.0), (0.0, 8.0), (0.5, 1.0), (0.5, 8.0)]
    assert sum(row["teacher_trainings"] for row in table) == 1

    assert report.rows == {"kitchen": 30, "books": 30}
    systems = ["no_kd", "default", "tuned"]
    teachers = ["teacher"] if report.values[GAMMA1] == 0.5 else ["teacher", "tuned_teacher"]
    assert [line.system for line in report.lines] == teachers + systems
    assert all(len(line.average.values) == 2 for line in report.lines[-3:])
    assert [(one.reference, one.result.rows) for one in report.contrasts] == [("default", 60), ("no_kd", 60)]
    for domain in ("kitchen", "books"):
        kept = json.loads((folder / "best" / domain / "provenance.json").read_text())
        assert (kept["values"], kept["domain"], kept["trials"]) == (report.values, domain, 4)
        AutoModelForSequenceClassification.from_pretrained(folder / "best" / domain)
        start = json.loads((folder / f"final/tuned/seed2/{domain}/history.jsonl").read_text().splitlines()[0])
        assert start["engine"] == "deepspeed-zero0"
    assert run_search(config) == report  # nothing is left to do


def test_a_larger_trial_makes_its_teacher_in_its_own_group(tmp_path: Path) -> None:
    space = {GAMMA1: {"kind": "choice", "values": [0.25]}}
    one = Search(search(tmp_path, changes={"compute.num_workers": 2}, space=space, trials=1), Terminal())
    one.check()
    one.start_ray()
    try:
        (record,) = one.trials(one.plan())
    finally:
        one.close()
    assert record.status == "finished"
    assert record.work == SharedWorkCount(teacher_trainings=1, logit_exports=1, teacher_forwards=record.work.teacher_forwards)
    assert record.work.teacher_forwards >= BATCHES, "counted on the workers"
