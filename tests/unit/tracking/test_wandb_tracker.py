"""Runs of W&B: restarts, several in one process, and no question or call without a key."""

import socket
from pathlib import Path

import pytest

from raykd.errors import DataError
from raykd.tracking import open_tracker, read_offline_run
from raykd.tracking.credentials import server_answers
from tests.unit.tracking.wandb_runs import OPTIONS, figures, in_a_terminal, settings_file, wandb_run


def test_a_restart_continues_the_same_run(tmp_path: Path):
    wandb_run(tmp_path, {1: {"loss": 1.0}, 2: {"loss": 0.5}, 3: {"loss": 9.0}})
    wandb_run(tmp_path, {3: {"loss": 0.25}, 4: {"loss": 0.125}}, {"best": 4.0})
    run = read_offline_run(tmp_path)
    assert figures(run.history) == {1: {"loss": 1.0}, 2: {"loss": 0.5}, 3: {"loss": 0.25}, 4: {"loss": 0.125}}
    assert run.run_id == "reviews-kd-1"
    assert run.summary["best"] == 4.0
    assert len(list(tmp_path.rglob("*.wandb"))) == 2


def test_figures_of_one_step_are_one_row(tmp_path: Path):
    tracker = open_tracker("wandb", **OPTIONS, config={}, folder=str(tmp_path))
    tracker.log(7, {"train/loss": 0.5})
    tracker.log(7, {"eval/accuracy": 0.75})
    tracker.finish()
    assert figures(read_offline_run(tmp_path).history) == {7: {"train/loss": 0.5, "eval/accuracy": 0.75}}


def test_two_runs_in_one_process_do_not_meet(tmp_path: Path):
    first = open_tracker("wandb", **OPTIONS, config={}, folder=str(tmp_path / "1"))
    second = open_tracker("wandb", **{**OPTIONS, "run_id": "reviews-kd-2"}, config={}, folder=str(tmp_path / "2"))
    first.log(1, {"loss": 1.0})
    second.log(1, {"loss": 2.0})
    second.finish()
    first.finish()
    assert figures(read_offline_run(tmp_path / "1").history) == {1: {"loss": 1.0}}
    assert figures(read_offline_run(tmp_path / "2").history) == {1: {"loss": 2.0}}
    with pytest.raises(DataError, match="holds the runs reviews-kd-1, reviews-kd-2"):
        read_offline_run(tmp_path)


def test_a_run_id_that_the_server_would_not_take_is_made_one_that_it_does(tmp_path: Path):
    tracker = open_tracker("wandb", **{**OPTIONS, "run_id": "a/b c:1"}, config={}, folder=str(tmp_path))
    tracker.finish()
    assert read_offline_run(tmp_path).run_id == "a-b-c-1"


def test_switched_off_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb_run(tmp_path, {1: {"loss": 1.0}}, {"accuracy": 0.5})
    assert not list(tmp_path.rglob("*.wandb"))


def test_without_a_key_nobody_is_asked_and_nobody_called(tmp_path: Path, server: tuple[str, list[str]]):
    address, calls = server
    code, shown = in_a_terminal(tmp_path, WANDB_BASE_URL=address)
    assert (code, shown, calls) == (0, "", [])
    assert figures(read_offline_run(tmp_path).history) == {1: {"loss": 0.5}}


def test_a_key_that_is_not_taken_leaves_the_run_offline_with_a_warning(tmp_path: Path, server: tuple[str, list[str]]):
    address, calls = server
    code, shown = in_a_terminal(tmp_path, WANDB_BASE_URL=address, WANDB_API_KEY="0" * 40)
    assert code == 0
    assert "did not take the run" in shown
    assert calls  # it was tried
    assert "0" * 40 not in shown
    (kept,) = tmp_path.rglob("*-offline.wandb")
    assert figures(read_offline_run(kept).history) == {1: {"loss": 0.5}}


def test_a_server_that_is_not_there_leaves_the_run_offline_with_a_warning(tmp_path: Path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        assert not server_answers(address, 1.0)
        code, shown = in_a_terminal(tmp_path, WANDB_BASE_URL=address, WANDB_API_KEY="0" * 40)
    assert code == 0
    assert "does not answer" in shown
    run = read_offline_run(tmp_path)
    assert figures(run.history) == {1: {"loss": 0.5}}
    assert run.run_id == "i"


def test_a_folder_that_wandb_offline_was_run_in_calls_nobody(with_key: Path, server: tuple[str, list[str]]):
    address, calls = server
    settings_file(with_key / "wandb", "offline")
    code, shown = in_a_terminal(with_key / "run", WANDB_BASE_URL=address)
    assert (code, shown, calls) == (0, "", [])
    assert figures(read_offline_run(with_key / "run").history) == {1: {"loss": 0.5}}


@pytest.mark.parametrize("disabled", ["WANDB_DISABLED", "WANDB_MODE", "settings"])
def test_what_is_disabled_writes_nothing_and_calls_nobody(with_key: Path, server: tuple[str, list[str]], disabled: str):
    address, calls = server
    if disabled == "settings":
        settings_file(with_key / "wandb", "disabled")
    given = {"WANDB_DISABLED": {"WANDB_DISABLED": "true"}, "WANDB_MODE": {"WANDB_MODE": "disabled"}}.get(disabled, {})
    before = sorted(with_key.rglob("*"))
    code, shown = in_a_terminal(with_key / "run", WANDB_BASE_URL=address, **given)
    assert (code, shown, calls) == (0, "", [])
    assert sorted(with_key.rglob("*")) == before
