"""Trials of Meta-KD jobs in this process: what they share, what they count, and teachers of their own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from raykd.config.search_space import Value
from raykd.data import storage
from raykd.errors import ConfigError, DataError
from raykd.tracking import NullTracker
from raykd.trainers.context import local_context
from raykd.trainers.features.stored_states import close_shared_stores
from raykd.tune.jobs.metakd_job import MetaKDPlan
from raykd.tune.local_trial import TrialRun
from raykd.tune.trial_plan import TrialPlan
from raykd.tune.trial_record import SharedWorkCount, TrialJournal
from tests.unit.metakd.worlds import make_config
from tests.unit.tune.small_search import GAMMA1, GAMMA2, TEMPERATURE, LocalShared

BATCHES = 2
"""Of a domain's 30 rows, 16 at a time."""


@pytest.fixture
def states(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Folder of the teacher states that trials share."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    yield tmp_path / "tmp"
    close_shared_stores()


def shared(tmp_path: Path, **student: Any) -> LocalShared:
    settings = {"domains": ["dvd", "books"], "seeds": [1], **student}
    return LocalShared(make_config(tmp_path, **settings))


def run(plan: MetaKDPlan, tmp_path: Path, index: int, values: Mapping[str, Value]) -> list[dict[str, Any]]:
    """The reports of a trial."""
    trials = TrialPlan(plan, 1, "accuracy", str(tmp_path / "trials" / "intermediate"), None, trials=3)
    journal = TrialJournal(str(tmp_path / "trials"))
    with local_context() as context:
        return list(TrialRun(trials, index, values, journal=journal, context=context, tracker=NullTracker()))


def work(reports: list[dict[str, Any]]) -> SharedWorkCount:
    return sum((SharedWorkCount.model_validate(report["work"]) for report in reports), SharedWorkCount())


def test_a_trial_is_the_mean_of_its_domains_and_runs_the_teacher_once_a_row(tmp_path: Path, states: Path) -> None:
    one = shared(
        tmp_path, intermediate={"training": {"epochs": 3, "batch_size": 16, "max_steps": 4}, "teacher_states": "stored"}
    )
    plan = one.make_plan()
    reports = run(plan, tmp_path, 0, {TEMPERATURE: 2.0, GAMMA2: 0.3})
    assert one.pipeline.trained == ["meta teacher"], "made before any trial"
    last = reports[-1]
    figures = []
    for domain in ("dvd", "books"):
        history = (tmp_path / "trials" / "0000" / domain / "history.jsonl").read_text().splitlines()
        figures.append(json.loads(history[-1])["best"])
    assert last["value"] == pytest.approx(sum(figures) / 2)
    assert last["complete"]
    assert last["step"] == 2 * (4 + 2), "both stages, both domains"
    assert all("value" not in report for report in reports[:-1]), "no figure of one domain passes for the trial's"
    assert work(reports) == SharedWorkCount(teacher_forwards=2 * BATCHES)

    again = run(plan, tmp_path, 1, {TEMPERATURE: 8.0, GAMMA2: 0.9})
    assert work(again) == SharedWorkCount(), "the records of the first trial"
    assert list(states.rglob("*.f32"))
    close_shared_stores()
    assert not list(states.rglob("*.f32")), "the last one takes them off the disk"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"prediction": {"training": {"metric": "f2"}}},
            r"student\.prediction\.training\.metric = 'f2': evaluations have accuracy",
        ),
        ({"intermediate": {"layers": [[1, 9]]}}, r"\[1, 9\] is not a pair"),
    ],
)
def test_what_is_wrong_is_said_before_ray_starts(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        shared(tmp_path, **changes).check()


def test_rows_are_looked_at_before_ray_starts(tmp_path: Path) -> None:
    one = shared(tmp_path)
    with (tmp_path / "train.tsv").open("a") as stream:
        stream.write("a fine plot\tgarden\tpositive\n")
    with pytest.raises(DataError, match="garden"):
        one.check()


def test_the_intermediate_model_is_trained_once_when_only_the_prediction_layer_differs(tmp_path: Path, states: Path) -> None:
    plan = shared(tmp_path).make_plan()
    first, second, third = (
        run(plan, tmp_path, index, values)
        for index, values in enumerate([{TEMPERATURE: 1.0, GAMMA2: 0.3}, {TEMPERATURE: 8.0, GAMMA2: 0.3}, {GAMMA2: 0.4}])
    )
    made = sorted(
        str(path.parent.relative_to(tmp_path / "trials")) for path in (tmp_path / "trials").rglob("intermediate/task.json")
    )
    assert made == ["0000/books/intermediate", "0000/dvd/intermediate", "0002/books/intermediate", "0002/dvd/intermediate"]
    assert first[-1]["step"] == second[-1]["step"] == third[-1]["step"]
    for domain in ("dvd", "books"):
        tasks = [storage.read_json(str(tmp_path / "trials" / f"000{index}" / domain / "task.json")) for index in (0, 1)]
        assert tasks[0]["model"] == tasks[1]["model"]
        assert [task["objective"]["temperature"] for task in tasks] == [1.0, 8.0]


def test_each_value_of_a_teacher_hyperparameter_trains_one_teacher(tmp_path: Path, states: Path) -> None:
    one = shared(tmp_path)
    plan = one.make_plan()
    asked = [{GAMMA1: 0.0}, {GAMMA1: 0.0, TEMPERATURE: 4.0}, {GAMMA1: 0.5}, {GAMMA1: 0.9}]
    done = [work(run(plan, tmp_path, index, values)) for index, values in enumerate(asked)]
    assert [(each.teacher_trainings, each.logit_exports) for each in done] == [(1, 1), (0, 0), (0, 0), (1, 1)]
    tasks = [storage.read_json(str(tmp_path / "trials" / f"000{index}" / "dvd" / "task.json")) for index in range(4)]
    assert tasks[0]["logits"] == tasks[1]["logits"]
    assert len({task["logits"] for task in tasks}) == 3
    assert tasks[2]["logits"] == plan.tables["dvd"].logits, "the job's own value has the job's own teacher"
    tried = list((tmp_path / "runs" / "small" / "trial-teachers").iterdir())
    weights = {storage.read_json(str(path / "teacher" / "task.json"))["objective"]["domain_loss_weight"] for path in tried}
    assert weights == {0.0, 0.9}


def test_a_trial_that_was_cut_off_goes_on_where_its_trainings_ended(tmp_path: Path, states: Path) -> None:
    plan = shared(tmp_path).make_plan()
    values = {TEMPERATURE: 2.0, GAMMA2: 0.3}
    trials = TrialPlan(plan, 1, "accuracy", str(tmp_path / "trials" / "intermediate"), None, trials=3)
    with local_context() as context:
        cut = iter(
            TrialRun(trials, 0, values, journal=TrialJournal(str(tmp_path / "trials")), context=context, tracker=NullTracker())
        )
        while not (tmp_path / "trials" / "0000" / "dvd" / "task.json").exists():
            next(cut)
        cut.close()  # type: ignore[attr-defined]  # a generator, held as an iterator
    before = (tmp_path / "trials" / "0000" / "dvd" / "history.jsonl").read_bytes()
    reports = run(plan, tmp_path, 0, values)
    assert (tmp_path / "trials" / "0000" / "dvd" / "history.jsonl").read_bytes() == before
    whole = run(plan, tmp_path, 1, values)
    assert reports[-1]["value"] == pytest.approx(whole[-1]["value"])
