"""One machine: processes killed, commands interrupted, a disk that is full, a store that goes away.

Each at a random step; the weights are those of a run that was left alone, bit for bit. What can happen in any training is
tried on the teacher's alone.
"""

import contextlib
import random
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.cluster.runs import DATA_TASK, KEPT_ACTOR, SCORING_WORKER, TRAIN_WORKER, Run, World, damage, of, same
from tests.cluster.s3_runs import S3Run
from tests.cluster.s3_server import BUCKET, s3_server
from tests.cluster.terminals import Terminal

pytest.importorskip("moto.server", reason="moto[server] is not installed: no S3 server to test against")
pytestmark = pytest.mark.cluster


def test_a_worker_an_actor_and_a_data_task_are_killed(
    world: World, environment: Mapping[str, str], calm: Mapping[str, object], draw: random.Random
) -> None:
    run = Run(world, "killed", environment, draw=draw)
    with run.command():
        run.wait_random_step("teacher", low=10, high=150)
        run.kill(TRAIN_WORKER)
        run.wait_said("teacher: workers were lost, continues from the checkpoint at step")
        run.kill(SCORING_WORKER)
        run.kill(KEPT_ACTOR)
        run.kill(DATA_TASK)
        assert run.end() == 0, run.output()
    assert same(run.weights(), calm)


def test_the_command_is_stopped_and_killed_and_given_again(
    world: World, environment: Mapping[str, str], calm: Mapping[str, object], draw: random.Random
) -> None:
    run = Run(world, "again", environment, draw=draw, stage="teacher")
    with run.command():
        run.wait_random_step("teacher", low=10, high=80)
        run.signal(signal.SIGTERM)
        assert run.end(90) == 130, run.output()
        assert run.said("teacher: stopped after step")
        assert run.said("the same command resumes")
    stopped_at = run.checkpoint("teacher")
    newest = run.folder / "teacher" / "checkpoints" / f"step-{stopped_at:08d}"
    damage(newest, draw)
    with run.command():
        run.wait_said("warning: .*looking for the checkpoint before it")
        run.wait_said("teacher: continues from the checkpoint at step")
        run.wait_random_step("teacher", low=stopped_at + 10, high=stopped_at + 40)
        run.kill_driver()
    with run.command():
        run.wait_said("teacher: continues from the checkpoint at step")
        assert run.end() == 0, run.output()
    assert same(run.weights(), of("teacher", calm))


@pytest.mark.long  # a signal in training is in the test above, a closed terminal in tests/unit/test_cli.py
def test_a_closed_terminal_leaves_a_checkpoint(
    world: World, environment: Mapping[str, str], calm: Mapping[str, object], draw: random.Random
) -> None:
    """The kernel's SIGHUP reaches the command and all of Ray's processes; nobody reads the output any more."""
    sets = ["teacher.training.checkpoint_steps=1000000"]  # whatever it continues from was written because of the signal
    run = Run(world, "closed", environment, sets=sets, draw=draw, stage="teacher")
    with Terminal(run.log) as terminal, run.command(terminal):
        run.wait_said(r"teacher: step 40 ")
        terminal.close()
        run.signal(signal.SIGHUP)  # the shell's own
        assert run.end(90) == 130, run.output()
    assert run.checkpoint("teacher") >= 40
    assert "Traceback" not in run.output()
    with run.command():
        run.wait_said(f"teacher: continues from the checkpoint at step {run.checkpoint('teacher')}")
        assert run.end() == 0, run.output()
    assert same(run.weights(), of("teacher", calm))


@pytest.fixture
def small_disk(world: World) -> Iterator[Path]:
    """A file system of 64 MB."""
    folder = world.folder / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=False)


def test_a_full_disk_ends_the_run_and_free_space_continues_it(
    world: World, environment: Mapping[str, str], calm: Mapping[str, object], draw: random.Random, small_disk: Path
) -> None:
    run = Run(world, "full", environment, sets=[f"storage={small_disk}"], draw=draw, storage=small_disk, stage="teacher")
    filler = small_disk / "filler"
    with run.command():
        run.wait_random_step("teacher", low=10, high=150)
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
            while True:
                stream.write(b"x" * (1 << 20))
        assert run.end() == 2, run.output()
        assert run.said("raykd: .*No space left on device; free space there")
    filler.unlink()
    with run.command():
        run.wait_said("teacher: continues from the checkpoint at step")
        assert run.end() == 0, run.output()
    assert same(run.weights(), of("teacher", calm))


def test_a_store_that_goes_away_for_a_while_is_waited_for(
    world: World, environment: Mapping[str, str], calm: Mapping[str, object], draw: random.Random, tmp_path: Path
) -> None:
    with s3_server(tmp_path) as server:
        sets = [f"storage=s3://{BUCKET}/runs", "teacher.training.checkpoint_steps=20"]
        run = S3Run(world, "s3", {**environment, **server.environment}, sets=sets, draw=draw, stage="teacher", server=server)
        with run.command():
            run.wait_random_step("teacher", low=20, high=120)
            server.tunnel.cut()
            time.sleep(15)  # longer than one request waits, shorter than the store is waited for
            server.tunnel.mend()
            assert run.end() == 0, run.output()
        assert same(run.weights(), of("teacher", calm))
