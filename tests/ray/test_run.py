"""The walking ground on real Ray: TSV to comparison table, kills included."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.torch import load_file

import raykd
from raykd.cluster import local_cores
from raykd.config import ComputeConfig, ExperimentConfig
from raykd.data.kept_actors import SCORING, KeptActor
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import spec_from_config
from raykd.distill.pipeline import DistillationPipeline, run_experiment
from raykd.distill.tasks import teacher_task
from raykd.errors import ConfigError, ResourceError, TrainingError
from raykd.models import model_digest
from raykd.placement import AvailableResources, Placement
from raykd.progress import Terminal
from raykd.report.load_tables import load_logits
from raykd.run.build_objective import ObjectiveContext
from raykd.run.parallel_groups import ParallelGroups
from raykd.run.task import TrainTask, cache_folder, run_folder
from raykd.run.worker_group import OnEvent, WorkerGroup
from raykd.session import free_cpus
from raykd.task_kinds import label_codec
from raykd.trainers.events import CheckpointSaved, Started, TrainingEvent
from raykd.trainers.objective import Objective
from tests.local_pipeline import LocalGroup, LocalPipeline

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("ray_session")]
Make = Callable[..., ExperimentConfig]


def records(folder: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in Path(folder, "history.jsonl").read_text().splitlines()]


def weights(task: TrainTask) -> dict[str, Any]:
    return dict(load_file(Path(task.model_folder, "model.safetensors")))


def the_teacher(config: ExperimentConfig) -> TrainTask:
    sets = {
        part: prepare(spec_from_config(config.data, part, config.teacher.model, label_codec(config.data)), cache_folder(config))  # type: ignore[union-attr]  # the job has a teacher
        for part in ("train", "validation")
    }
    return teacher_task(config, **sets, digest=model_digest(config.teacher.model))  # type: ignore[union-attr]  # the job has a teacher


@pytest.fixture(scope="module")
def two_workers(ray_session: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[WorkerGroup]:
    """A group for several tests; each task names its own engine."""
    group = WorkerGroup(ComputeConfig(num_workers=2), storage=str(tmp_path_factory.mktemp("group")), name="test")
    yield group
    group.close()


def fail_on_the_first_worker(task: TrainTask, context: ObjectiveContext) -> Objective:
    """No objective: an error on the first worker alone, and a wait for it on the others."""
    if context.worker.is_first:
        raise ResourceError("the first worker's disk is full")
    context.worker.barrier()
    raise AssertionError("not reached")


def train(config: ExperimentConfig, group: WorkerGroup | LocalGroup) -> TrainTask:
    task = the_teacher(config)
    group.run([task], lambda *_: None)
    return task


def seeds(config: ExperimentConfig) -> list[TrainTask]:
    """The teacher with two seeds."""
    one = the_teacher(config)
    return [
        one.model_copy(
            update={"name": f"seed {seed}", "seed": seed, "folder": f"{one.folder}-{seed}", "key": f"{one.key}{seed}"}
        )
        for seed in (1, 2)
    ]


def train_seeds(config: ExperimentConfig, placement: Placement, on_event: OnEvent) -> list[TrainTask]:
    """The teacher with two seeds, in as many groups of workers as the placement says."""
    tasks = seeds(config)

    def build(placement: Placement) -> WorkerGroup:
        return WorkerGroup(placement.compute(config.compute, use_gpu=False), storage=run_folder(config), name="test")

    groups = ParallelGroups(build, on_event, lambda: AvailableResources(2))
    try:
        groups.run(tasks, placement)
    finally:
        groups.close()
    return tasks


def test_a_run_goes_through_torch_trainer_deepspeed_and_ray_data_and_is_skipped_the_second_time(
    experiment: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    import ray
    from ray.train.torch import TorchTrainer

    fits = []
    fit = TorchTrainer.fit
    monkeypatch.setattr(TorchTrainer, "fit", lambda trainer: (fits.append(trainer), fit(trainer))[1])
    monkeypatch.chdir(tmp_path)
    scorers = sum(f"{KeptActor.__name__}.__init__" in event["cat"] for event in ray.timeline())
    config = experiment(storage="runs")  # relative, as people write it: Ray would take it for a URI
    result = raykd.run(config).report

    made = len(fits)
    assert 1 <= made <= max(1, local_cores()), "each group of workers serves the teacher and students alike"
    folder = Path(run_folder(config))
    trained = [folder / "teacher", *sorted((folder / "students").iterdir())]
    assert [path.name for path in trained] == ["teacher", "kd-seed1", "kd-seed2", "no_kd-seed1", "no_kd-seed2"]
    for path in trained:
        start = records(str(path))[0]
        assert (start["event"], start["engine"], start["model"]) == ("start", "deepspeed-zero0", "DeepSpeedEngine")
    calls = [event["cat"] for event in ray.timeline()]
    reads = [name for name in calls if "read_pools" in name]
    assert len(reads) >= len(trained), "every task's rows came through a ray.data execution"
    assert sum(f"{KeptActor.__name__}.__init__" in name for name in calls) == scorers, (
        "the training workers score in all stages"
    )
    assert any(SCORING in name for name in calls)
    helpers = ("DatasetManager", "PlacementGroupCleaner", "PreemptionWatcher")
    assert any("SynchronizationActor" in name for name in calls), "Ray Train's actors are in the list"
    assert not [name for name in calls if any(helper in name for helper in helpers)], "each costs two processor seconds"
    assert result is not None
    assert result.model_dump(mode="json") == json.loads((folder / "report" / "report.json").read_text())

    run_experiment(config)
    assert len(fits) == made, "nothing is trained twice"
    assert (folder / "experiment.json").exists()


def test_a_worker_that_waits_for_a_failed_one_is_ended(experiment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second worker waits in a collective that the first never enters; ``fit`` has to end before Ray does."""
    config, free = experiment(), free_cpus()
    monkeypatch.setattr("raykd.run.worker_group.FAILED_SECONDS", 1)
    group = WorkerGroup(
        ComputeConfig(num_workers=2), storage=run_folder(config), name="test", build_objective=fail_on_the_first_worker
    )
    try:
        with pytest.raises(ResourceError, match="the first worker's disk is full"):
            train(config, group)
        fit = group._fit
        assert fit is not None
        assert fit.is_alive()
    finally:
        group.close()
    assert not fit.is_alive()
    deadline = time.monotonic() + 60
    while free_cpus() < free and time.monotonic() < deadline:
        time.sleep(0.1)  # Ray gives the CPUs back some time after the group is removed, and signals nothing
    assert free_cpus() == free, "others can train"


def test_a_stage_alone_says_which_one_it_needs(experiment: Make) -> None:
    with pytest.raises(ConfigError, match="needs the stage teacher"):
        run_experiment(experiment(), only=["logits"])


@pytest.mark.long
def test_cross_fitted_logits_through_ray_are_those_of_one_process(experiment: Make) -> None:
    """Rows of a fold are left out by reading tasks and scored by actors, one for each model."""
    training = {"epochs": 1, "batch_size": 16, "learning_rate": 5e-3}
    changes = {"teacher__training": training, "logits__folds": 2, "compute__engine": {"kind": "torch"}}
    local = LocalPipeline(experiment(name="local", **changes))
    expected = local.logits()
    pipeline = DistillationPipeline(experiment(name="ray", **changes), terminal=Terminal())
    try:
        made = pipeline.logits()
    finally:
        pipeline.runner.close()
    assert made is not None
    assert expected is not None
    assert len(local.trained) == 3
    np.testing.assert_array_equal(load_logits(made.path), load_logits(expected.path))


def test_trainings_side_by_side_and_a_killed_worker_give_the_weights_of_one_after_the_other(experiment: Make) -> None:
    """Many small checkpoints, one SIGKILL somewhere between them: only the task of the killed worker starts again."""
    changes = {"teacher__training__epochs": 6, "teacher__training__checkpoint_steps": 2}
    undisturbed = seeds(experiment(name="calm", **changes))
    LocalGroup().run(undisturbed, lambda *_: None)
    state: dict[str, Any] = {"pids": {}}

    def kill_after_a_checkpoint(name: str, event: TrainingEvent) -> None:
        if isinstance(event, Started):
            state["pids"].setdefault(name, []).append(event.pid)
        if isinstance(event, CheckpointSaved) and name == "seed 2" and len(state["pids"][name]) == 1 and "killed" not in state:
            state["killed"] = event.step
            os.kill(state["pids"][name][0], signal.SIGKILL)

    disturbed = train_seeds(experiment(name="killed", **changes), Placement(2, 1, 1), kill_after_a_checkpoint)
    assert {name: len(pids) for name, pids in state["pids"].items()} == {"seed 1": 1, "seed 2": 2}
    assert len({pid for pids in state["pids"].values() for pid in pids}) == 3, "each in a process of its own"
    resumed = [record["step"] for record in records(disturbed[1].folder) if record["event"] == "resumed"]
    assert [step >= state["killed"] for step in resumed] == [True]
    for before, after in zip(undisturbed, disturbed, strict=True):
        steps = [record["step"] for record in records(after.folder) if record["event"] == "train"]
        assert steps == sorted(set(steps)), "the history tells each step once"
        expected, actual = weights(before), weights(after)
        assert all(bool((actual[name] == value).all()) for name, value in expected.items())


@pytest.mark.parametrize(
    ("engine", "attention"),
    [
        pytest.param({"kind": "deepspeed", "zero_stage": 2}, "padded", id="zero2"),
        pytest.param({"kind": "deepspeed", "zero_stage": 1}, "unpadded", id="zero1, unpadded"),
        pytest.param({"kind": "torch"}, "padded", id="torch", marks=pytest.mark.long),
    ],
)
def test_two_workers_give_the_weights_of_one(
    experiment: Make, two_workers: WorkerGroup, engine: dict[str, Any], attention: str
) -> None:
    """One worker with padded rows, in this process, and two with either attention."""
    changes = {"teacher__training__dropout": 0.0, "teacher__training__batch_size": 15, "compute__engine": engine}
    changes["compute__precision"] = "fp32"
    one = weights(train(experiment(name="one", **changes), LocalGroup()))
    two = weights(train(experiment(name="two", compute__attention=attention, **changes), two_workers))
    # A key's bias shifts all scores of a query alike, which softmax ignores: its gradient is rounding noise,
    # which Adam turns into steps (2e-4 apart for some orders of the rows). All other weights agree to 3e-6.
    worst = max(float((one[name] - two[name]).abs().max()) for name in one if not name.endswith("key.bias"))
    assert worst < 1e-5


def test_a_non_finite_loss_stops_the_run_and_names_the_step(experiment: Make, two_workers: WorkerGroup) -> None:
    with pytest.raises(TrainingError, match=r"step \d+: .*(ce|gradient norm)"):
        train(
            experiment(
                teacher__training__learning_rate=1e30, teacher__training__max_grad_norm=0, teacher__training__warmup_ratio=0
            ),
            two_workers,
        )
