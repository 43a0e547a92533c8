"""Several nodes: the weights are those of one node; nodes are removed, drained and added during a run."""

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from raykd.config import ExperimentConfig, load_job
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import spec_from_config
from raykd.data.side_tables import SideTable
from raykd.data.step_stream import local_feed
from raykd.data.tokenised_set import TokenisedSet
from raykd.distill.tasks import teacher_task
from raykd.models import model_digest
from raykd.predict import ScoreJob, score_locally
from raykd.run.task import cache_folder
from raykd.run.train_task import open_task, run_open_task
from raykd.stage_names import SPLITS
from raykd.task_kinds import label_codec
from raykd.trainers.context import local_context
from raykd.trainers.control import ControlRequests, StopRequested
from tests.cluster.heads import ROOT
from tests.cluster.processes import wait_until
from tests.cluster.raylets import Raylets, raylets
from tests.cluster.runs import PREDICTION_ACTOR, PREPARE_TASK, STAGE_LIMIT_S, TRAIN_WORKER, Run, World, same
from tests.conftest import FILLERS, WORDS, save_model
from tests.ray.metakd_jobs import config as meta_kd

pytestmark = pytest.mark.cluster
NODES = 3
STUDENT = "students/kd-seed1"
QUICK_NEWS = {"RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5"}
"""Interval at which Ray asks for drained nodes; by default a training of seconds would be over before the first time."""


@pytest.fixture(scope="module")
def cluster(environment: Mapping[str, str]) -> Iterator[Raylets]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.setenv("PYTHONPATH", str(ROOT))
        with raylets(NODES) as made:
            yield made


@pytest.fixture
def nodes(cluster: Raylets) -> Raylets:
    cluster.restore(NODES)
    return cluster


def test_nodes_are_removed_in_training_and_prediction_and_one_is_drained(
    world: World, environment: Mapping[str, str], calm: Mapping[str, object], nodes: Raylets, draw: random.Random
) -> None:
    sets = ["student.training.checkpoint_steps=1000000"]  # whatever it continues from was written because of the drain
    run = Run(world, "nodes", {**environment, **nodes.environment, **QUICK_NEWS}, sets=sets, draw=draw)
    with run.command():
        run.wait_random_step("teacher", low=10, high=150)
        workers = [nodes.node_of(process) for process in run.processes(TRAIN_WORKER)]
        assert len({node.node_id for node in workers}) == 2, "the workers are on different nodes"
        nodes.remove(draw.choice(workers))
        nodes.add()
        run.wait_said("teacher: workers were lost, continues from")
        nodes.remove(nodes.node_of(run.wait_process(PREDICTION_ACTOR)))
        nodes.add()
        run.wait_said("kd seed 1: step 200 ")
        going = nodes.node_of(run.wait_process(TRAIN_WORKER))
        nodes.drain(going, seconds=30)
        wait_until(lambda: run.checkpoint(STUDENT) > 200, f"a checkpoint before the node goes:\n{run.output()}", poll_s=0.02)
        nodes.remove(going)
        nodes.add()
        run.wait_said("kd seed 1: workers were lost, continues from the checkpoint at step")
        assert run.end() == 0, run.output()
    assert same(run.weights(), calm)


@pytest.mark.long  # several nodes are in the test above, Meta-KD on one node in tests/ray/test_metakd.py
def test_meta_kd_on_several_nodes_gives_the_weights_of_one(
    environment: Mapping[str, str], nodes: Raylets, tmp_path: Path
) -> None:
    job = tmp_path / "job.yaml"
    content = meta_kd(tmp_path, compute={"num_workers": 2, "placement": "wide"}, baselines=("hard_labels",)).model_dump(
        mode="json"
    )
    content["student"]["intermediate"]["teacher_states"] = "stored"  # else the faster way is chosen, which rounds otherwise
    job.write_text(yaml.safe_dump(content))
    one = Run(World(tmp_path, job), "one", environment)
    several = Run(World(tmp_path, job), "several", {**environment, **nodes.environment})
    with one.command():
        assert one.end() == 0, one.output()
    with several.command():
        wait_until(lambda: len(several.processes(TRAIN_WORKER)) == 2, f"two workers:\n{several.output()}", STAGE_LIMIT_S)
        workers = {nodes.node_of(process).node_id for process in several.processes(TRAIN_WORKER)}
        assert several.end() == 0, several.output()
    assert len(workers) == 2, "the workers are on different nodes"
    assert same(several.weights(), one.weights())


ENDLESS = [
    *("teacher.training.max_steps=1000000", "teacher.training.epochs=100000", "teacher.training.dropout=0"),
    *("teacher.training.evaluate_every=100000", "teacher.training.checkpoint_steps=50", "teacher.training.schedule=constant"),
    *("teacher.training.learning_rate=1e-4", "teacher.training.batch_size=64", "compute.precision=fp32"),
]
"""A training that nobody waits for the end of, without dropout, whose randomness follows the ranks.

In fp32 also on CPUs that compute in bf16, where the order of a sum shows in the third digit.
"""
ELASTIC_TOLERANCE = 1e-4
"""Largest difference of a weight between a run whose workers came and went and one of a fixed size: only the order in which a
batch's gradients are summed differs."""


def test_the_number_of_workers_follows_the_nodes(world: World, environment: Mapping[str, str], nodes: Raylets) -> None:
    nodes.remove(nodes.nodes[0])
    elastic = ["compute.num_workers=[1,3]", "compute.resize_seconds=5", "compute.max_failures=5"]
    run = Run(world, "elastic", {**environment, **nodes.environment}, sets=[*ENDLESS, *elastic])
    with run.command():
        run.wait_random_step("teacher", low=50, high=100)
        assert len(run.processes(TRAIN_WORKER)) == 2, "it starts with what is there"
        nodes.add()
        run.wait_said("teacher: 2 workers are now 3, continues from the checkpoint at step .* steps are repeated")
        grown = run.checkpoint("teacher")
        run.wait_random_step("teacher", low=grown + 50, high=grown + 100)
        nodes.remove(nodes.node_of(run.wait_process(TRAIN_WORKER)))
        run.wait_said("teacher: 3 workers are now 2, continues from the checkpoint at step")
        shrunk = run.checkpoint("teacher")
        run.wait_random_step("teacher", low=shrunk + 50, high=shrunk + 100)
        run.signal(signal.SIGTERM)
        assert run.end(90) == 130, run.output()
    newest = max(step for step in run.checkpoints("teacher") if step % 50 == 0)
    fixed = Run(world, "fixed", environment, sets=ENDLESS)
    train_alone(load_job(str(world.job), [f"name={fixed.name}", *ENDLESS]), lambda: newest in fixed.checkpoints("teacher"))
    expected = fixed.checkpoint_weights("teacher", newest)
    found = run.checkpoint_weights("teacher", newest)
    worst = max(float((expected[name] - value).abs().max()) for name, value in found.items())
    assert worst < ELASTIC_TOLERANCE


def train_alone(config: ExperimentConfig, enough: Callable[[], bool]) -> None:
    """The teacher's training with one worker, in this process and without Ray, until it is enough."""
    model = config.every_teacher[0].model
    train, validation = (
        prepare(spec_from_config(config.data, split, model, label_codec(config.data)), cache_folder(config))
        for split in SPLITS[:2]
    )
    task = teacher_task(config, train=train, validation=validation, digest=model_digest(model))
    with local_context() as context, pytest.raises(StopRequested):
        run_open_task(open_task(task, context, local_feed), context, control=ControlRequests(stop=enough))


def long_and_short_rows(folder: Path) -> Path:
    """A job file: 20 MB of training rows, which make several tasks of a second, and many test rows; next to no training."""
    draw = random.Random(1)
    for name, count, repeats in (("train", 4000, 60), ("test", 40_000, 1)):
        with (folder / f"{name}.tsv").open("w") as file:
            for number in range(count):
                label = draw.choice("01")
                words = draw.choices(FILLERS, k=draw.randint(4, 20)) + draw.choices(WORDS[label], k=3)
                file.write(f"{number} {' '.join(words * repeats)}\t{label}\n")
    content = {
        "name": "rows",
        "storage": str(folder / "runs"),
        "data": {
            "input_schema": "text:str:1,label:str:1",
            "first_sequence": "text",
            "label": "label",
            "labels": ["0", "1"],
            "train": [str(folder / "train.tsv")],
            "test": [str(folder / "test.tsv")],
            "validation": 0.1,
            "sequence_length": 32,
        },
        "teacher": {"model": save_model(folder / "teacher", hidden=32, seed=1), "fine_tune": False},
        "student": {
            "model": save_model(folder / "student", hidden=16, seed=2),
            "training": {"max_steps": 20, "batch_size": 16, "learning_rate": 2e-3},
            "objective": {"kind": "fine_tune"},
        },
        "compute": {"prediction_actors": 2, "start_timeout_s": 240, "collective_timeout_s": 120},
    }
    (folder / "job.yaml").write_text(yaml.safe_dump(content))
    return folder / "job.yaml"


@pytest.mark.long  # one more kind of moment for what the first test does in training and prediction
def test_nodes_are_removed_while_rows_are_prepared_and_while_models_are_evaluated(
    environment: Mapping[str, str], nodes: Raylets, draw: random.Random, tmp_path: Path
) -> None:
    job = long_and_short_rows(tmp_path)
    run = Run(World(tmp_path, job), "rows", {**environment, **nodes.environment}, draw=draw)
    with run.command():
        run.wait_process(PREPARE_TASK)
        time.sleep(draw.random())  # a task takes about a second: somewhere in one of them
        nodes.remove(nodes.node_of(run.wait_process(PREPARE_TASK)))
        nodes.add()
        run.wait_said("train: .* rows, at most")
        scored = run.folder / "evaluation"
        wait_until(
            lambda: any(scored.rglob("part-*.parquet")), f"the first scores:\n{run.output()}", STAGE_LIMIT_S, poll_s=0.05
        )
        nodes.remove(nodes.node_of(run.wait_process(PREDICTION_ACTOR)))
        nodes.add()
        assert run.end() == 0, run.output()
    config = load_job(str(job))
    assert isinstance(config, ExperimentConfig)
    alone = {}
    for split in SPLITS:
        spec = spec_from_config(config.data, split, config.student.model, label_codec(config.data))
        alone[split] = prepare(spec, str(tmp_path / "alone"))
        found = TokenisedSet.open(str(tmp_path / "runs" / "cache" / "prepared" / Path(alone[split].path).name))
        assert_same_files(found, alone[split])
        beside = {path.name for path in Path(found.path).iterdir()} - {part.file for part in found.parts}
        assert not {name for name in beside if "part-" in name}, "what lost tasks wrote is gone"
    for split, folder in (("test", scored), ("validation", scored / "validation")):
        tables = [SideTable.open(str(path)) for path in sorted(folder.iterdir()) if path.name != "validation"]
        assert len(tables) == 2, "teacher and student"
        for number, table in enumerate(tables):
            expected = str(tmp_path / f"alone-{split}-{number}")
            assert_same_files(table, *score_locally([ScoreJob(table.provenance["model"], alone[split].path, expected)]))


def assert_same_files(found: TokenisedSet | SideTable, expected: TokenisedSet | SideTable) -> None:
    """The same rows, each once, in files of the same bytes; what a manifest does not list does not exist."""
    assert [(part.position, part.groups) for part in found.parts] == [(part.position, part.groups) for part in expected.parts]
    for part, other in zip(found.parts, expected.parts, strict=True):
        assert Path(found.path, part.file).read_bytes() == Path(expected.path, other.file).read_bytes()
