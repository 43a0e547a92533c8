"""Trainings that stop and go on, in this process and without Ray: bit for bit, from checkpoints of the same settings only."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from raykd.data.padding import PaddingRule
from raykd.data.step_stream import local_feed
from raykd.errors import CheckpointError, ConfigError, TrainingError
from raykd.models import check_compiler, compiled_forward
from raykd.run.train_task import open_task, run_open_task
from raykd.trainers import arithmetic
from raykd.trainers.context import local_context
from raykd.trainers.control import ControlRequests, StopRequested
from raykd.trainers.events import CheckpointSaved, Evaluated, TrainingEvent
from tests.unit.run.tasks import TORCH, Make, losses, task_of, train, weights

KINDS = {"train", "eval"}


class InterruptedRunError(Exception):
    """Stands for the end of a killed process, without killing the tests."""


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("engine", [{"kind": "torch"}, {"kind": "deepspeed", "zero_stage": 1}], ids=["torch", "zero1"])
def test_four_steps_equal_two_steps_a_restart_and_two_more(experiment: Make, engine: dict[str, Any], precision: str) -> None:
    changes = {"teacher__training__max_steps": 4, "teacher__training__checkpoint_steps": 1, "compute__engine": engine}
    changes["compute__precision"] = precision

    def stop_after_two(record: TrainingEvent) -> None:
        if isinstance(record, CheckpointSaved) and record.step == 2:
            raise InterruptedRunError

    whole, halves = (task_of(experiment(name=name, **changes)) for name in ("whole", "halves"))
    train(whole)
    with pytest.raises(InterruptedRunError):
        train(halves, stop_after_two)
    history = train(halves)
    assert [record["step"] for record in history if record["event"] == "resumed"] == [2]
    assert all(torch.equal(value, weights(halves)[name]) for name, value in weights(whole).items())
    assert not Path(halves.checkpoints).exists(), "a finished task needs no checkpoints"


def test_without_padding_the_losses_and_metrics_are_those_with_it_also_after_a_restart(experiment: Make) -> None:
    changes = TORCH | {"teacher__training__dropout": 0.0, "teacher__training__max_steps": 8}
    changes |= {"teacher__training__evaluate_every": 4, "teacher__training__checkpoint_steps": 3}

    def stop_after_six(record: TrainingEvent) -> None:
        if isinstance(record, CheckpointSaved) and record.step == 6:
            raise InterruptedRunError

    tasks = [
        task_of(experiment(name=name, compute__attention=attention, **changes))
        for name, attention in [("padded", "padded"), ("whole", "unpadded"), ("halves", "unpadded")]
    ]
    assert [task.unpadded for task in tasks] == [False, True, True]
    assert tasks[0].key != tasks[1].key
    with pytest.raises(InterruptedRunError):
        train(tasks[2], stop_after_six)
    numbers = ("loss", "grad_norm", "metrics")
    padded, whole, halves = (
        [{name: record[name] for name in numbers if name in record} for record in train(task) if record["event"] in KINDS]
        for task in tasks
    )
    assert len(padded) == 8 + 2
    assert [one.keys() for one in whole] == [one.keys() for one in padded]
    for one, other in zip(padded, whole, strict=True):
        for name, value in one.items():
            assert other[name] == pytest.approx(value, rel=1e-4)
    assert halves == whole
    assert all(torch.equal(value, weights(tasks[2])[name]) for name, value in weights(tasks[1]).items())
    assert not all(torch.equal(value, weights(tasks[1])[name]) for name, value in weights(tasks[0]).items()), "by rounding"


def test_stopped_from_outside_with_a_checkpoint_it_continues_bit_for_bit(experiment: Make) -> None:
    changes = TORCH | {"teacher__training__max_steps": 6}
    whole, stopped = (task_of(experiment(name=name, **changes)) for name in ("whole", "stopped"))
    train(whole)
    answers = iter([False, False, True])
    heard: list[tuple[str, int]] = []
    with local_context() as context, pytest.raises(StopRequested, match="after step 3"):
        run_open_task(
            open_task(stopped, context, local_feed),
            context,
            listeners=[lambda record: heard.append((record.kind, record.step))],
            control=ControlRequests(stop=lambda: next(answers)),
        )
    assert heard[-2:] == [("checkpoint", 3), ("stopped", 3)]
    history = train(stopped)
    assert [record["step"] for record in history if record["event"] == "resumed"] == [3]
    assert all(torch.equal(value, weights(stopped)[name]) for name, value in weights(whole).items())


def test_word_of_a_leaving_node_is_worth_one_checkpoint(experiment: Make) -> None:
    task = task_of(experiment(**TORCH, teacher__training__max_steps=6))
    answers = iter([False, True, False, False, False, False])
    saved: list[int] = []
    with local_context() as context:
        run_open_task(
            open_task(task, context, local_feed),
            context,
            listeners=[lambda record: saved.append(record.step) if isinstance(record, CheckpointSaved) else None],
            control=ControlRequests(checkpoint=lambda: next(answers)),
        )
    assert saved == [2]


def test_a_best_model_whose_saving_was_cut_off_is_the_one_before(experiment: Make) -> None:
    """Killed between taking the former model away and putting the new one in its place: nothing is lost by it."""
    changes = TORCH | {"teacher__training__max_steps": 8, "teacher__training__evaluate_every": 2}
    changes |= {"teacher__training__checkpoint_steps": 2, "teacher__training__metric": "loss"}
    whole, cut = (task_of(experiment(name=name, **changes)) for name in ("whole", "cut"))
    train(whole)

    def stop(record: TrainingEvent) -> None:
        if isinstance(record, CheckpointSaved) and record.step == 4:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(cut, stop)
    folder = Path(cut.model_folder)
    folder.rename(folder.with_name(".model.before"))
    history = train(cut)
    assert folder.is_dir()
    assert not folder.with_name(".model.before").exists()
    best = [record["best_step"] for record in history if record["event"] == "end"]
    expected = [json.loads(line) for line in Path(whole.history).read_text().splitlines()]
    assert best == [record["best_step"] for record in expected if record["event"] == "end"]
    assert all(torch.equal(value, weights(cut)[name]) for name, value in weights(whole).items())


def test_a_training_that_stops_itself_leaves_the_history_that_led_there(experiment: Make) -> None:
    changes = {"learning_rate": 1e30, "max_grad_norm": 0, "warmup_ratio": 0, "evaluate_every": 100}
    task = task_of(experiment(**TORCH, **{f"teacher__training__{name}": value for name, value in changes.items()}))
    with pytest.raises(TrainingError, match="stopped before the update"):
        train(task)
    assert "train" in {json.loads(line)["event"] for line in Path(task.history).read_text().splitlines()}


def test_a_finished_task_is_not_trained_again(experiment: Make) -> None:
    task = task_of(experiment(**TORCH))
    train(task)
    heard: list[Any] = []
    train(task, heard.append)
    assert not heard


def test_a_model_that_another_task_has_begun_to_replace_is_trained_again(experiment: Make) -> None:
    def stop(record: TrainingEvent) -> None:
        if isinstance(record, Evaluated):
            raise InterruptedRunError

    first = task_of(experiment(**TORCH))
    train(first)
    expected = weights(first)
    with pytest.raises(InterruptedRunError):  # the same folder with another setting: its first evaluation saves a model
        train(task_of(experiment(teacher__training__learning_rate=1e-4, **TORCH)), stop)
    assert not first.is_done(), "the model in the folder is no longer this task's"
    train(first)
    assert all(torch.equal(value, weights(first)[name]) for name, value in expected.items())


def test_a_checkpoint_of_other_settings_is_refused(experiment: Make) -> None:
    changes = TORCH | {"teacher__training__checkpoint_steps": 1}

    def stop(record: TrainingEvent) -> None:
        if isinstance(record, CheckpointSaved):
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(task_of(experiment(**changes)), stop)
    with pytest.raises(CheckpointError, match="belongs to another task"):
        train(task_of(experiment(teacher__training__learning_rate=1e-4, **changes)))


@pytest.mark.parametrize("engine", [{"kind": "torch"}, {"kind": "deepspeed", "zero_stage": 2}], ids=["torch", "zero2"])
def test_a_compiled_training_resumes_and_gives_the_same_model(
    experiment: Make, monkeypatch: pytest.MonkeyPatch, engine: dict[str, Any]
) -> None:
    """Traced by torch.compile's front end and run without a compiler, so that every bit can be compared."""
    monkeypatch.setattr(compiled_forward, "BACKEND", "eager")
    monkeypatch.setattr(arithmetic, "padding_on", lambda _, *, limit, compiled: PaddingRule(limit))
    changes = {"compute__engine": engine, "teacher__training__max_steps": 4, "teacher__training__checkpoint_steps": 1}
    plain = task_of(experiment(name="plain", **changes))
    compiled = task_of(experiment(name="compiled", compute__compile=True, **changes))
    assert plain.key != compiled.key

    def stop_after_two(record: TrainingEvent) -> None:
        if isinstance(record, CheckpointSaved) and record.step == 2:
            raise InterruptedRunError

    with pytest.raises(InterruptedRunError):
        train(compiled, stop_after_two)
    assert losses(train(compiled)) == losses(train(plain))
    expected, found = weights(plain), weights(compiled)
    assert list(found) == list(expected)
    assert all(torch.equal(value, found[name]) for name, value in expected.items())


@pytest.mark.long
def test_a_training_compiled_to_native_code_has_the_same_losses(experiment: Make) -> None:
    try:
        check_compiler(on_gpu=False)
    except ConfigError as error:
        pytest.skip(str(error))
    changes = TORCH | {"teacher__training__max_steps": 3, "teacher__training__dropout": 0, "teacher__training__log_every": 1}
    plain = losses(train(task_of(experiment(name="plain", **changes))))
    compiled = losses(train(task_of(experiment(name="compiled", compute__compile=True, **changes))))
    assert compiled == pytest.approx(plain, rel=1e-5)
