"""Several nodes: the weights are those of one node; nodes are removed, drained and added while a run goes on."""

import random
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import yaml

from tests.cluster.heads import ROOT
from tests.cluster.processes import wait_until
from tests.cluster.raylets import Raylets, raylets
from tests.cluster.runs import PREDICTION_ACTOR, STAGE_LIMIT_S, TRAIN_WORKER, Run, World, same
from tests.ray.test_metakd import config as meta_kd

pytestmark = pytest.mark.cluster

STUDENT = "students/kd-seed1"
QUICK_NEWS = {"RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S": "0.5"}
"""How often Ray asks for drained nodes; a training of seconds would be over before it does."""


@pytest.fixture
def nodes(environment: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Raylets]:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with raylets(3) as made:
        yield made


def test_nodes_are_removed_in_each_kind_of_stage_and_one_is_drained(
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


def test_meta_kd_on_several_nodes_gives_the_weights_of_one(
    environment: Mapping[str, str], nodes: Raylets, tmp_path: Path
) -> None:
    job = tmp_path / "job.yaml"
    content = meta_kd(tmp_path, compute={"num_workers": 2}, baselines=("hard_labels",)).model_dump(mode="json")
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
    *("teacher.training.learning_rate=1e-4", "teacher.training.batch_size=64"),
]
"""A training that nobody waits for the end of, without dropout, whose randomness follows the ranks."""
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
    with fixed.command():
        wait_until(lambda: newest in fixed.checkpoints("teacher"), f"step {newest}", 2 * STAGE_LIMIT_S, poll_s=0.01)
        expected = fixed.checkpoint_weights("teacher", newest)
        fixed.kill_driver()
    found = run.checkpoint_weights("teacher", newest)
    worst = max(float((expected[name] - value).abs().max()) for name, value in found.items())
    assert worst < ELASTIC_TOLERANCE
