"""Trials of a distillation with intermediate layers: what they share, and their steps."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raykd.config import ExperimentConfig, with_values
from raykd.data.tokenised_set import TokenisedSet
from raykd.progress import Terminal
from raykd.tracking import NullTracker
from raykd.trainers.context import local_context
from raykd.trainers.features.stored_states import close_shared_stores
from raykd.tune.jobs.distill_job import DistillationWork
from raykd.tune.jobs.job_plan import share_teacher_states
from raykd.tune.local_trial import TrialRun
from raykd.tune.trial_plan import TrialPlan
from raykd.tune.trial_record import TrialJournal
from tests.local_pipeline import LocalPipeline

ALPHA, WEIGHT = "student.objective.alpha", "student.intermediate.hidden_weight"
SHORT = {"epochs": 1, "batch_size": 32, "learning_rate": 5e-3, "log_every": 1}


@pytest.fixture
def base(experiment: Callable[..., ExperimentConfig]) -> Callable[..., ExperimentConfig]:
    def make(**section: Any) -> ExperimentConfig:
        engine = {"kind": "torch"}
        return experiment(
            compute__engine=engine, student__training=SHORT, teacher__training=SHORT, student__intermediate=section
        )

    return make


def plan_of(base: ExperimentConfig) -> Any:
    work = DistillationWork(base, Terminal())
    work.pipeline = LocalPipeline(base)
    return work.make_plan()


def run(plan: Any, tmp_path: Path, index: int, values: dict[str, Any]) -> list[dict[str, Any]]:
    trials = TrialPlan(plan, 1, "accuracy", str(tmp_path / "trials" / "intermediate"), None, trials=3)
    with local_context() as context:
        journal = TrialJournal(str(tmp_path / "trials"))
        return list(TrialRun(trials, index, values, journal=journal, context=context, tracker=NullTracker()))


def test_trials_that_differ_in_the_objective_alone_share_the_intermediate_model(
    base: Callable[..., ExperimentConfig], tmp_path: Path
) -> None:
    config = base(training={**SHORT, "epochs": 2}, teacher_states="stored")
    plan = plan_of(config)
    asked = [{ALPHA: 0.2}, {ALPHA: 0.8}, {WEIGHT: 0.5}]
    reports = [run(plan, tmp_path, index, values)[-1] for index, values in enumerate(asked)]
    close_shared_stores()
    trials = tmp_path / "trials"
    made = sorted(str(path.parent.relative_to(trials)) for path in trials.rglob("intermediate/task.json"))
    assert made == ["0000/intermediate", "0002/intermediate"]
    tasks = [json.loads((trials / f"000{index}/task.json").read_text()) for index in range(3)]
    assert [Path(task["model"]).parts[-3] for task in tasks] == ["0000", "0000", "0002"]
    assert [task["objective"]["alpha"] for task in tasks[:2]] == [0.2, 0.8]
    per_epoch = -(-TokenisedSet.open(plan.train).num_rows // 32)
    assert {report["step"] for report in reports} == {3 * per_epoch} == {plan.num_steps(config, None)}
    assert plan.num_steps(config, 2) == 4


def test_joint_training_is_one_task_whose_teacher_states_trials_share(
    base: Callable[..., ExperimentConfig], tmp_path: Path
) -> None:
    plan = plan_of(base(mode="joint"))
    assert plan.chain_length == 1
    config = with_values(plan.base, {WEIGHT: 0.5})
    chains = {
        variant: plan.chains(config, variant=variant, seed=7, folder=str(tmp_path), adapt=lambda task, **_: task)
        for variant in ("kd", "no_kd")
    }
    (joint,), (labels,) = (list(chain[""]) for chain in chains.values())
    assert (joint.objective.kind, joint.objective.hidden_weight, joint.seed) == ("feature_kd", 0.5, 7)
    assert labels.objective.kind == "fine_tune"
    shared = share_teacher_states(joint, trainings=6, across_processes=True)
    assert (shared.objective.trainings, shared.objective.share_states) == (6, True)
    assert share_teacher_states(labels, trainings=6) == labels


def test_trials_train_on_all_rows_and_the_baseline_on_labelled_ones(
    experiment: Callable[..., ExperimentConfig], tmp_path: Path
) -> None:
    config = experiment(
        compute__engine={"kind": "torch"}, student__training=SHORT, teacher__training=SHORT, data__label_budget=60
    )
    plan = plan_of(config)
    chains = {
        variant: plan.chains(config, variant=variant, seed=7, folder=str(tmp_path), adapt=lambda task, **_: task)
        for variant in ("kd", "no_kd")
    }
    (student,), (labels,) = (list(chain[""]) for chain in chains.values())
    rows = {task.name: TokenisedSet.open(task.train) for task in (student, labels)}
    assert rows[labels.name].num_rows == 60
    assert rows[student.name].labelled_groups == 1
    assert rows[student.name].num_rows > 200
    assert labels.logits is None
    other = with_values(config, {"teacher.training.learning_rate": 1e-3})
    teacher = plan.trial_teacher(other)
    assert teacher is not None
    assert TokenisedSet.open(teacher.task.train).num_rows == 60
    assert TokenisedSet.open(teacher.rows).num_rows == rows[student.name].num_rows
