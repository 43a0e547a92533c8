"""A trial that takes over another's weights continues as one training would whose settings change at that step."""

import json
import math
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from ray.train._internal.checkpoint_manager import _TrainingResult
from ray.tune.experiment import Trial

from raykd.config import ExperimentConfig, with_values
from raykd.config.load_tune import build_tune
from raykd.config.search_space import Value
from raykd.data.logits_tsv import import_tsv
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import spec_from_config
from raykd.data.step_stream import local_feed
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import CheckpointError
from raykd.progress import Terminal
from raykd.run.task import TrainTask, cache_folder, model_folder
from raykd.run.train_task import run_task
from raykd.task_kinds import label_codec
from raykd.tracking import NullTracker
from raykd.trainers.context import WorkerContext, local_context
from raykd.trainers.phases import at_progress
from raykd.tune.final_trainings import in_phases
from raykd.tune.jobs.distill_job import DistillationPlan
from raykd.tune.local_trial import CheckpointRef, TrialRun
from raykd.tune.schedulers import build_scheduler
from raykd.tune.search_html import search_html
from raykd.tune.search_report import SearchReport
from raykd.tune.search_tables import markdown, trial_table
from raykd.tune.trainable import trial_name
from raykd.tune.trial_callback import TrialCallback, with_report
from raykd.tune.trial_plan import TrialPlan
from raykd.tune.trial_record import LineagePart, SharedWorkCount, TrialJournal, TrialRecord
from raykd.tune.trial_text import take_over_sentence
from raykd.tune.trials import longest_trial
from tests.unit.tune.small_search import search

RATE, TEMPERATURE, ALPHA = "student.training.learning_rate", "student.objective.temperature", "student.objective.alpha"
FIRST: dict[str, Value] = {RATE: 5e-3, TEMPERATURE: 1.5, ALPHA: 0.9}
SECOND: dict[str, Value] = {RATE: 2e-3, TEMPERATURE: 4.0, ALPHA: 0.3}
STEPS, EVERY, INTERVAL = 20, 5, 10


@dataclass
class World:
    """A population's plan and journal; its trials run in this process."""

    plan: TrialPlan
    journal: TrialJournal
    context: WorkerContext

    def trial(self, index: int, values: dict[str, Any], start: CheckpointRef | None = None) -> TrialRun:
        run = TrialRun(self.plan, index, values, journal=self.journal, context=self.context, tracker=NullTracker())
        run.start = start
        return run

    def evaluations(self, index: int) -> dict[int, dict[str, float]]:
        return evaluations(Path(self.journal.trial_folder(index), "history.jsonl"))


def evaluations(history: Path) -> dict[int, dict[str, float]]:
    """Metrics by step."""
    records = [json.loads(line) for line in history.read_text().splitlines()]
    return {record["step"]: record["metrics"] for record in records if record["event"] == "eval"}


def as_it_is(task: TrainTask, *, domain: str, last: bool) -> TrainTask:
    del domain, last
    return task


def stretches(report: dict[str, Any]) -> list[tuple[int, int, float]]:
    """Step, trial and temperature of each."""
    return [(one["step"], one["trial"], one["values"][TEMPERATURE]) for one in report["lineage"]]


@pytest.fixture
def world(experiment: Callable[..., ExperimentConfig], tmp_path: Path) -> Iterator[World]:
    training = {"epochs": 1, "batch_size": 16, "evaluate_every": EVERY, "dropout": 0.1, "metric": "loss"}
    base = experiment(student__training=training, student__seeds=[1], compute__engine={"kind": "torch"})
    train, validation = (
        prepare(spec_from_config(base.data, part, base.student.model, label_codec(base.data)), cache_folder(base))  # type: ignore[arg-type]  # a distillation
        for part in ("train", "validation")
    )
    draw = random.Random(1)
    logits = tmp_path / "logits.tsv"
    logits.write_text("".join(f"{draw.gauss(0, 2):.3f},{draw.gauss(0, 2):.3f}\n" for _ in range(400)))
    side = import_tsv(str(logits), train, out=str(tmp_path / "logits"))
    starts = dict.fromkeys([one.name for one in base.student_variants], model_folder(base.student.model))
    plan = DistillationPlan(base, train.path, validation.path, side.path, starts)
    with local_context() as context:
        trials = TrialPlan(plan, 1, "loss", str(tmp_path / "first"), STEPS, interval=INTERVAL)
        yield World(trials, TrialJournal(str(tmp_path / "trials")), context)


def test_taking_over_is_one_training_whose_settings_change(world: World, tmp_path: Path) -> None:
    """Weights, moments, place in the plan, and best so far are the donor's; the values are the trial's own from there on."""
    donor = iter(trial := world.trial(3, FIRST))
    reports = [next(donor), next(donor)]
    assert [report["step"] for report in reports] == [5, 10]
    place = trial.save()
    assert place == CheckpointRef(3, 10)
    donor.close()  # type: ignore[attr-defined]  # a generator, held as an iterator
    taken = list(world.trial(7, SECOND, start=place))
    assert [report["step"] for report in taken] == [15, 20]
    assert taken[-1]["complete"]
    assert stretches(taken[-1]) == [(0, 3, 1.5), (10, 7, 4.0)]

    config = with_values(world.plan.job.base, FIRST)
    constant = next(world.plan.job.chains(config, variant="kd", seed=1, folder=str(tmp_path / "whole"), adapt=as_it_is)[""])
    task = in_phases(constant, world.plan.job.phases(((0.0, FIRST), (10 / STEPS, SECOND))))
    assert task.key != constant.key
    assert in_phases(constant, ()) == constant
    assert TrainTask.model_validate(task.model_dump(mode="json")) == task
    run_task(task, world.context, build_feed=local_feed)
    whole = evaluations(tmp_path / "whole/history.jsonl")
    assert {**world.evaluations(3), **world.evaluations(7)} == whole
    assert taken[-1]["value"] == min(metrics["loss"] for metrics in whole.values())
    level = list(world.trial(1, FIRST))
    assert world.evaluations(1)[15] != whole[15], "the values did not change"
    assert stretches(level[-1]) == [(0, 1, 1.5)]


def test_a_trial_that_is_killed_goes_on_with_its_own_lineage(world: World) -> None:
    donor = iter(trial := world.trial(0, FIRST))
    next(donor)
    place = trial.save()  # between two intervals: written for who asks
    donor.close()  # type: ignore[attr-defined]  # a generator, held as an iterator
    clone = iter(world.trial(1, SECOND, start=place))
    assert next(clone)["step"] == 10  # its own checkpoint is there
    clone.close()  # type: ignore[attr-defined]  # a generator, held as an iterator
    again = list(world.trial(1, SECOND))
    assert [report["step"] for report in again] == [15, 20]
    assert stretches(again[-1]) == [(0, 0, 1.5), (5, 1, 4.0)]
    resumed = [
        record
        for record in map(json.loads, Path(world.journal.trial_folder(1), "history.jsonl").read_text().splitlines())
        if record["event"] == "resumed"
    ]
    assert [(record["step"], "source" in record) for record in resumed] == [(5, True), (10, False)]


def test_who_comes_late_takes_over_what_the_donor_has_become(world: World) -> None:
    donor = iter(trial := world.trial(0, FIRST))
    next(donor)
    place = trial.save()
    list(donor)  # to its end; it keeps its checkpoints for others
    shutil.rmtree(Path(world.journal.trial_folder(0), "checkpoints/step-00000005"))
    late = iter(world.trial(1, SECOND, start=place))
    assert stretches(next(late))[-1] == (10, 1, 4.0)
    late.close()  # type: ignore[attr-defined]  # a generator, held as an iterator
    with pytest.raises(CheckpointError, match="no checkpoint to continue from"):
        next(iter(world.trial(2, SECOND, start=CheckpointRef(9, 5))))


def test_what_a_report_was_reached_with_is_what_the_report_says() -> None:
    """Ray Tune has given the trial its donor's config by the time its last report is heard."""
    record = TrialRecord(index=1, values=SECOND)
    work = {"teacher_trainings": 0, "logit_exports": 0, "teacher_forwards": 2}
    own = {"step": 0, "trial": 1, "values": SECOND}
    first = with_report(record, {"step": 5, "value": 0.6, "lineage": [own], "work": work, "time_this_iter_s": 2.0})
    assert (first.values, first.values_changed, first.curve, first.seconds) == (SECOND, False, ((5, 0.6),), 2.0)
    taken = [{"step": 0, "trial": 0, "values": SECOND}, {"step": 5, "trial": 1, "values": FIRST}]
    second = with_report(first, {"step": 10, "value": 0.8, "lineage": taken, "work": work, "time_this_iter_s": 3.0})
    assert (second.values, second.value, second.seconds, second.work.teacher_forwards) == (FIRST, 0.8, 5.0, 4)
    assert second.lineage == tuple(map(LineagePart.model_validate, taken))
    assert second.schedule(20) == ((0.0, SECOND), (0.25, FIRST))
    assert take_over_sentence(second) == (
        "trial 1: at step 5 took over trial 0; learning_rate 0.002 -> 0.005, temperature 4 -> 1.5, alpha 0.3 -> 0.9"
    )


def test_the_longest_trial_of_the_space_is_what_a_scheduler_counts_up_to(world: World) -> None:
    """ASHA would stop a trial with more steps than the job's own at those steps, though it is the best."""
    base = world.plan.job.base
    rows = TokenisedSet.open(world.plan.job.train).num_rows  # type: ignore[attr-defined]  # the plan of a distillation
    space = {
        "student.training.epochs": {"kind": "quniform", "low": 1, "high": 4, "step": 1},
        "student.training.batch_size": {"kind": "choice", "values": [32, 8, 16]},
    }
    scheduler = {"kind": "asha", "grace_steps": 5, "reduction": 100}
    given = {"kind": "tune", "name": "s", "base": base.model_dump(mode="json"), "space": space, "scheduler": scheduler}
    config = build_tune(given)
    steps = longest_trial(config, world.plan.job)
    assert steps == 4 * math.ceil(rows / 8) > math.ceil(rows / 16)
    assert longest_trial(config.model_copy(update={"max_steps": 30}), world.plan.job) == 30
    trial = Trial("stub", stub=True, config={"index": 0, "values": {}}, trial_name_creator=trial_name)
    built = build_scheduler(config, total_steps=steps)
    built.on_trial_add(None, trial)
    decisions = [built.on_trial_result(None, trial, {"step": step, "value": 0.9}) for step in range(5, steps + 1, 5)]
    assert set(decisions) == {"CONTINUE"}


def test_settings_change_at_the_very_step_at_any_length_of_training() -> None:
    for total in (2, 3, 7, 49, 157):
        for step in range(1, total):
            phases = ((0.0, "before"), (step / total, "after"))
            for number in range(total):
                expected = "after" if number >= step else "before"
                assert at_progress(phases, number / total) == expected  # the learning rate's clock
                assert at_progress(phases, number / (total - 1)) == expected  # the objective's


def test_the_report_shows_how_the_winners_values_moved() -> None:
    stretches = (LineagePart(step=0, trial=0, values=FIRST), LineagePart(step=10, trial=1, values=SECOND))
    trials = (
        TrialRecord(index=0, values=FIRST, status="finished", value=0.7, step=20, lineage=stretches[:1]),
        TrialRecord(index=1, values=SECOND, status="finished", value=0.8, step=20, lineage=stretches),
    )
    report = SearchReport(
        name="search", metric="accuracy", mode="max", searcher="random", scheduler="pbt", hyperparameters=tuple(FIRST),
        log_scale=(), trials=trials, best=1, values=SECOND, lineage=stretches,
        default_values=FIRST, importances=None, work=SharedWorkCount(),
    )  # fmt: skip
    text = markdown(report)
    assert "| 0 | 0 | 0.005 | 1.5 | 0.9 |" in text
    assert "| 10 | 1 | 0.002 | 4 | 0.3 |" in text
    assert "trained with this whole schedule" in text
    assert "Values of the best trial over time" in search_html(report)
    assert trial_table(report).column("lineage")[1].as_py().startswith("from step 0 trial 0 with {")
    plain = report.model_copy(update={"lineage": (), "trials": trials[:1], "best": 0})
    assert "over time" not in markdown(plain)


class Controller:
    """Ray Tune's controller as its scheduler sees it, one trial at a time in this process."""

    search_alg = None

    def __init__(self, trials: list[Trial]) -> None:
        self.trials = trials
        self.running: TrialRun | None = None

    def get_trials(self) -> list[Trial]:
        return self.trials

    def _schedule_trial_save(self, trial: Trial, result: Any) -> Any:
        assert self.running is not None
        return self.running.save()

    def pause_trial(self, trial: Trial, should_checkpoint: bool) -> None:
        trial.set_status(Trial.PAUSED)


def test_under_ray_tunes_scheduler_trials_stay_who_they_are(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """The worst take over from the best: what moves is values and weights; names, folders and records are the trial's own."""
    changes = {"student.training.metric": "loss", "student.training.evaluate_every": EVERY, "compute.num_workers": 1}
    config = search(
        searcher="grid",
        space={RATE: {"kind": "grid", "values": [5e-3, 4e-3, 1e-12, 1e-11]}},
        scheduler={"kind": "pbt", "interval_steps": EVERY, "resample": 0},
        set=changes,
    )
    trials = [
        Trial("stub", stub=True, config={"index": index, "values": values}, trial_name_creator=trial_name)
        for index, values in enumerate(config.grid_points)
    ]
    scheduler, controller = build_scheduler(config, total_steps=STEPS), Controller(trials)
    watch = TrialCallback(
        world.journal, metric="loss", mode="min", num_trials=4, terminal=Terminal(), on_end=lambda _: None, timeout_s=600
    )
    for trial in trials:
        scheduler.on_trial_add(controller, trial)
    while (trial := scheduler.choose_trial_to_run(controller)) is not None:
        kept = trial.run_metadata.checkpoint_manager._latest_checkpoint_result
        start = None if kept is None else kept.checkpoint
        controller.running = world.trial(int(str(trial)), trial.config["values"], start=start)
        trial.set_status(Trial.RUNNING)
        watch.on_trial_start(trial=trial)
        for report in controller.running:
            result = {**report, "time_this_iter_s": 1.0}
            decision = None if "complete" in report else scheduler.on_trial_result(controller, trial, result)
            watch.on_trial_result(trial=trial, result=result)
            trial.update_last_result(result)
            if decision == scheduler.PAUSE:
                place = _TrainingResult(checkpoint=controller.running.save(), metrics=result)
                trial.run_metadata.checkpoint_manager._latest_checkpoint_result = place
                trial.set_status(Trial.PAUSED)
            if decision in {scheduler.PAUSE, scheduler.NOOP}:
                break
        else:
            trial.set_status(Trial.TERMINATED)
            watch.on_trial_complete(trial=trial)
    said = capsys.readouterr().err
    assert [(one.index, one.status, one.step) for one in watch.records] == [(i, "finished", STEPS) for i in range(4)]
    moved = [one for one in watch.records if one.values_changed]
    assert moved
    for one in watch.records:
        steps = [stretch.step for stretch in one.lineage]
        assert steps == sorted(set(steps))
        assert (one.lineage[-1].trial, one.lineage[-1].values) == (one.index, one.values)
        assert one.value == min(
            metrics["loss"]
            for number, stretch in enumerate(one.lineage)
            for step, metrics in world.evaluations(stretch.trial).items()
            if stretch.step < step <= (steps[number + 1] if number + 1 < len(steps) else STEPS)
        )
    donor = moved[0].lineage[-2].trial
    assert f"trial {moved[0].index}: at step {moved[0].lineage[-1].step} took over trial {donor}; learning_rate" in said
    rates: list[Value] = [5e-3, 4e-3, 1e-12, 1e-11]
    before, after = (rates.index(stretch.values[RATE]) for stretch in moved[0].lineage[-2:])
    assert abs(after - before) <= 1  # the donor's, or its neighbour in the list
