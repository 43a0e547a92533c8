"""Checkpoints written beside training: what a slow write, a failed one, a stop and a kill lead to."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from raykd.data.step_stream import local_feed
from raykd.errors import ResourceError
from raykd.run.train_task import open_task, run_open_task
from raykd.trainers import checkpoint
from raykd.trainers.context import local_context
from raykd.trainers.control import ControlRequests, StopRequested
from raykd.trainers.events import CheckpointSaved, StepMetrics, TrainingEvent
from tests.unit.run.tasks import TORCH, Make, task_of, train

EVERY_TWO = TORCH | {
    "teacher__training__max_steps": 7,
    "teacher__training__checkpoint_steps": 2,
    "teacher__training__log_every": 1,
    "compute__precision": "fp32",  # in the process that is killed too
}
KILLED_IN_A_WRITE = """
import sys, time
from raykd.data import storage
from raykd.data.step_stream import local_feed
from raykd.run.task import TrainTask
from raykd.run.train_task import run_task
from raykd.trainers.context import local_context

write = storage.write_bytes

def write_half(path, data):
    if ".writing-00000004" in path and path.endswith("exp_avg.safetensors"):
        write(path, data[: len(data) // 2])
        print("half", flush=True)
        time.sleep(600)
    write(path, data)

storage.write_bytes = write_half
with local_context() as context:
    run_task(TrainTask.model_validate_json(sys.argv[1]), context, build_feed=local_feed)
"""


class Slow:
    """Holds every write back until it is released; counts the writes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.release = threading.Event()
        self.begun: list[int] = []
        self._write = checkpoint._write
        monkeypatch.setattr(checkpoint, "_write", self)

    def __call__(self, folder: str, step: int, *rest: object) -> None:
        self.begun.append(step)
        assert self.release.wait(60)
        self._write(folder, step, *rest)  # type: ignore[arg-type]  # the arguments as they came


def test_steps_are_taken_while_a_checkpoint_is_written_and_the_next_one_waits(
    experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, heard = Slow(monkeypatch), []

    def listen(event: TrainingEvent) -> None:
        if isinstance(event, StepMetrics | CheckpointSaved):
            heard.append((event.kind, event.step))
        if isinstance(event, StepMetrics) and event.step == 4:
            assert slow.begun == [2], "one write at a time"
            slow.release.set()

    history = train(task_of(experiment(**EVERY_TWO)), listen)
    assert heard.index(("train", 4)) < heard.index(("checkpoint", 2)) < heard.index(("train", 5))
    assert [step for kind, step in heard if kind == "checkpoint"] == [2, 4, 6]
    saved = [record for record in history if record["event"] == "checkpoint"]
    assert all(record["pause_s"] >= 0 and record["write_s"] > 0 for record in saved)


def test_a_failed_write_reaches_the_trainer_and_leaves_the_checkpoint_before(
    experiment: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = checkpoint._write

    def fail(folder: str, step: int, *rest: object) -> None:
        if step == 4:
            raise ResourceError("no space left")
        write(folder, step, *rest)  # type: ignore[arg-type]  # the arguments as they came

    task = task_of(experiment(**EVERY_TWO))
    monkeypatch.setattr(checkpoint, "_write", fail)
    with pytest.raises(ResourceError, match="no space left"):
        train(task)
    monkeypatch.undo()
    assert [record["step"] for record in train(task) if record["event"] == "resumed"] == [2]


def test_a_stop_waits_for_the_write(experiment: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    slow, task = Slow(monkeypatch), task_of(experiment(**EVERY_TWO))
    answers = iter([False, False, True])

    def stop() -> bool:
        asked = next(answers)
        if asked:
            threading.Timer(0.2, slow.release.set).start()
        return asked

    with local_context() as context, pytest.raises(StopRequested):
        run_open_task(open_task(task, context, local_feed), context, control=ControlRequests(stop=stop))
    assert slow.begun == [2, 3]
    assert [record["step"] for record in train(task) if record["event"] == "resumed"] == [3]


def test_a_kill_in_the_middle_of_a_write_continues_bit_for_bit_from_the_checkpoint_before(experiment: Make) -> None:
    whole, killed = (task_of(experiment(name=name, **EVERY_TWO)) for name in ("whole", "killed"))
    train(whole)
    command = [sys.executable, "-c", KILLED_IN_A_WRITE, json.dumps(killed.model_dump(mode="json"))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        process.kill()
    left = sorted(path.name for path in Path(killed.checkpoints).iterdir())
    assert [name.partition("-00000004")[0] for name in left] == [".writing", "step-00000002"]
    history = train(killed)
    assert [record["step"] for record in history if record["event"] == "resumed"] == [2]
    assert [record["step"] for record in history if record["event"] == "train"] == list(range(1, 8))
    expected, actual = (load_file(Path(one.model_folder, "model.safetensors")) for one in (whole, killed))
    assert all(torch.equal(actual[name], value) for name, value in expected.items())
