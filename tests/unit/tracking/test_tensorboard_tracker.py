"""TensorBoard's files read back, in local folders and on remote storage."""

from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raykd.tracking import open_tracker
from tests.unit.tracking.wandb_runs import CONFIG, OPTIONS


def scalars(folder: Path, name: str) -> list[tuple[int, float]]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(name)]


def test_tensorboard_reads_back_as_it_was_logged(tmp_path: Path):
    tracker = open_tracker("tensorboard", **OPTIONS, config=CONFIG, folder=str(tmp_path))
    for step in (1, 2, 3):
        tracker.log(step, {"train/kd_kl": 1 / 2**step})
    tracker.finish({"accuracy": 0.875})
    assert scalars(tmp_path, "train/kd_kl") == [(1, 0.5), (2, 0.25), (3, 0.125)]
    assert scalars(tmp_path, "summary/accuracy") == [(3, 0.875)]


def test_tensorboard_hides_what_a_restart_repeats(tmp_path: Path):
    for rows in ({1: 1.0, 2: 2.0, 3: 9.0}, {3: 3.0, 4: 4.0}):
        tracker = open_tracker("tensorboard", **OPTIONS, config=CONFIG, folder=str(tmp_path))
        for step, value in rows.items():
            tracker.log(step, {"loss": value})
        tracker.finish()
    assert scalars(tmp_path, "loss") == [(1, 1.0), (2, 2.0), (3, 3.0), (4, 4.0)]


def test_a_remote_folder_is_filled_at_the_end(tmp_path: Path):
    address = tmp_path.as_uri() + "/run"
    tracker = open_tracker("tensorboard", **OPTIONS, config=CONFIG, folder=address)
    tracker.log(1, {"loss": 0.5})
    assert not (tmp_path / "run").exists()
    tracker.finish()
    assert scalars(tmp_path / "run", "loss") == [(1, 0.5)]
