"""The choice of a tracker, what it is given, and the metrics of training events."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from raykd.errors import ConfigError
from raykd.tracking import NullTracker, listener, metrics_of, open_tracker, read_offline_run, trackers
from raykd.trainers.events import CheckpointSaved, Evaluated, GradientShares
from tests.training_events import step_metrics
from tests.unit.tracking.wandb_runs import CONFIG, OPTIONS


def test_a_tracked_configuration_holds_no_secret(tmp_path: Path):
    config = {"storage": "s3://key:hunter2@bucket", "token": {"access_token": "hunter2"}}
    tracker = open_tracker("wandb", **OPTIONS, config=config, folder=str(tmp_path / "wandb"))
    tracker.finish()
    tracker = open_tracker("tensorboard", **OPTIONS, config=config, folder=str(tmp_path / "tensorboard"))
    tracker.finish()
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes()
    assert read_offline_run(tmp_path / "wandb").config == {"storage": "s3://bucket", "token": {}}


def test_no_tracker_writes_nothing(tmp_path: Path):
    tracker = open_tracker("none", **OPTIONS, config=CONFIG, folder=str(tmp_path / "run"))
    assert isinstance(tracker, NullTracker)
    tracker.log(1, {"loss": 0.5})
    tracker.finish({"accuracy": 1.0})
    assert not (tmp_path / "run").exists()


def test_an_unknown_kind_is_an_error(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"'mlflow' is not one of none, wandb, tensorboard"):
        open_tracker("mlflow", **OPTIONS, config={}, folder=str(tmp_path))


def test_records_of_the_history_become_figures():
    event = step_metrics(3, terms={"kd_kl": 0.5, "ce": 0.25}, loss=0.75, learning_rate=5e-5, data_wait_s=0.01)
    assert metrics_of(event) == {
        "train/kd_kl": 0.5,
        "train/ce": 0.25,
        "train/loss": 0.75,
        "train/learning_rate": 5e-5,
        "train/grad_norm": 1.0,
        "train/rows_per_second": 10.0,
        "train/data_wait_s": 0.01,
        "train/epoch": 0,
    }
    assert metrics_of(Evaluated(step=3, metrics={"accuracy": 0.5}, best=True)) == {"eval/accuracy": 0.5}
    assert metrics_of(GradientShares(step=3, shares={"ce": 1.0})) == {"gradient_share/ce": 1.0}
    assert metrics_of(CheckpointSaved(step=3)) == {}


def test_a_listener_logs_what_has_figures():
    logged: list[tuple[int, Mapping[str, float]]] = []

    class Keeper(NullTracker):
        def log(self, step: int, metrics: Mapping[str, float]) -> None:
            logged.append((step, metrics))

    hear = listener(Keeper())
    hear(Evaluated(step=3, metrics={"accuracy": 0.5}, best=True))
    hear(CheckpointSaved(step=3))
    assert logged == [(3, {"eval/accuracy": 0.5})]


def test_a_new_tracker_needs_a_class_and_its_entry_only(tmp_path, monkeypatch):
    seen = []

    class ListTracker:
        def __init__(self, run):
            seen.append((run.run_name, run.folder))

        def log(self, step, metrics):
            seen.append((step, metrics))

        def table(self, name, header, rows): ...

        def finish(self, summary=None): ...

    monkeypatch.setitem(trackers.TRACKERS, "list", ListTracker)
    tracker = open_tracker("list", **OPTIONS, config={}, folder=str(tmp_path))
    tracker.log(3, {"loss": 1.0})
    assert seen == [(OPTIONS["run_name"], str(tmp_path)), (3, {"loss": 1.0})]
