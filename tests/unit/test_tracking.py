"""Output of the trackers, read back and compared; nothing asks a question or calls a server without a key."""

import http.server
import os
import socket
import struct
import subprocess
import sys
import threading
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from raykd.errors import ConfigError, DataError
from raykd.tracking import NullTracker, listener, metrics_of, open_tracker, read_offline_run, read_offline_table, trackers
from raykd.tracking.credentials import (
    check_tracking,
    has_wandb_key,
    server_answers,
    wandb_mode,
    wandb_settings,
    without_secrets,
)
from raykd.tracking.offline import BLOCK, IDENT, is_finished
from raykd.trainers.events import CheckpointSaved, Evaluated, GradientShares
from tests.training_events import step_metrics

OPTIONS: dict[str, Any] = {"project": "raykd", "run_name": "student kd seed 1", "group": "reviews", "run_id": "reviews-kd-1"}
CONFIG = {"student": {"objective": {"temperature": 4.0}}, "seeds": [1, 2]}


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine without any key of W&B."""
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_ERROR_REPORTING", "false")
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def wandb_run(folder: Path, rows: Mapping[int, Mapping[str, float]], summary: Mapping[str, float] | None = None) -> None:
    tracker = open_tracker("wandb", **OPTIONS, config=CONFIG, folder=str(folder))
    for step, metrics in rows.items():
        tracker.log(step, metrics)
    tracker.finish(summary)


def figures(history: tuple[dict[str, Any], ...]) -> dict[int, dict[str, float]]:
    """Rows by step without what the library adds."""
    return {row["_step"]: {name: value for name, value in row.items() if name[0] != "_"} for row in history}


def test_an_offline_run_reads_back_as_it_was_logged(tmp_path: Path):
    # more than one block of 32 KiB, so that records go over a block's end
    rows = {step: {"train/kd_kl": 1 / step, "train/learning_rate": 5e-5 * step, "eval/accuracy": 0.1} for step in range(1, 301)}
    wandb_run(tmp_path, rows, {"accuracy": 0.875})
    run = read_offline_run(tmp_path)
    assert figures(run.history) == rows
    assert run.summary["accuracy"] == 0.875
    assert run.config == CONFIG
    assert (run.run_id, run.project, run.name, run.group) == ("reviews-kd-1", "raykd", "student kd seed 1", "reviews")
    (file,) = tmp_path.rglob("*.wandb")
    assert file.stat().st_size > 2 * BLOCK
    assert is_finished(file.parent)


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


def test_a_table_comes_back_as_it_was_noted(tmp_path: Path):
    rows = [[0, 2.345678901, "linear", None], [1, None, "cosine", "out of memory"]]
    tracker = open_tracker("wandb", **OPTIONS, config={}, folder=str(tmp_path))
    tracker.table("trials", ["trial", "temperature", "schedule", "reason"], rows)
    tracker.finish()
    assert [list(row.values()) for row in read_offline_table(tmp_path, "trials")] == rows
    with pytest.raises(DataError, match="has no table 'others'"):
        read_offline_table(tmp_path, "others")


def test_switched_off_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    wandb_run(tmp_path, {1: {"loss": 1.0}}, {"accuracy": 0.5})
    assert not list(tmp_path.rglob("*.wandb"))


@pytest.fixture
def server() -> Iterator[tuple[str, list[str]]]:
    """A server that turns everybody away, and who called."""
    calls: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self) -> None:
            calls.append(f"{self.command} {self.path}")
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(401)
            self.send_header("content-length", "2")
            self.end_headers()
            self.wfile.write(b"{}")

        do_GET = do_POST = do_PUT = do_HEAD = answer  # noqa: N815

        def log_message(self, *args: Any) -> None:
            pass

    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{listening.server_port}", calls
    listening.shutdown()
    listening.server_close()


SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.WARNING)
from raykd.tracking import open_tracker
tracker = open_tracker("wandb", project="p", run_name="n", group=None, run_id="i", config={}, folder=sys.argv[1])
tracker.log(1, {"loss": 0.5})
tracker.finish()
"""


def in_a_terminal(folder: Path, **environment: str) -> tuple[int, str]:
    """Run :data:`SCRIPT` as a person would, on a terminal that nobody answers at; its exit code and what it showed."""
    keyboard, screen = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        stdin=screen, stdout=screen, stderr=screen, start_new_session=True, env={**os.environ, **environment},
    )  # fmt: skip
    os.close(screen)
    shown = b""
    while True:
        try:
            piece = os.read(keyboard, 4096)
        except OSError:  # the terminal of a process that has ended
            break
        if not piece:
            break
        shown += piece
    code = process.wait(timeout=60)
    os.close(keyboard)
    return code, shown.decode()


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


def found() -> tuple[bool, str]:
    return has_wandb_key(wandb_settings()), wandb_mode()


def test_a_key_is_found_where_the_library_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert found() == (False, "offline")
    (tmp_path / "netrc").write_text("machine example.org login user password secret\n")
    assert found() == (False, "offline")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert found() == (True, "online")
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert found() == (False, "offline")
    (tmp_path / "netrc").write_text("machine 'broken\n")
    assert found() == (False, "offline")
    monkeypatch.setenv("WANDB_API_KEY", "k")
    assert found() == (True, "online")


@pytest.fixture
def with_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, on a machine with a key."""
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def settings_file(folder: Path, mode: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "settings").write_text(f"[default]\nmode = {mode}\n")


def test_the_mode_is_that_of_wandbs_own_order_of_settings(with_key: Path, monkeypatch: pytest.MonkeyPatch):
    assert wandb_mode() == "online"
    settings_file(with_key / "config", "offline")
    assert wandb_mode() == "offline"
    settings_file(with_key / "wandb", "online")
    assert wandb_mode() == "online", "the folder's goes before the home's"
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert wandb_mode() == "offline", "the environment goes before both"
    settings_file(with_key / "wandb", "disabled")
    assert wandb_mode() == "offline"
    monkeypatch.delenv("WANDB_MODE")
    assert wandb_mode() == "disabled"


def test_the_home_has_settings_too(with_key: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WANDB_CONFIG_DIR")
    monkeypatch.setenv("HOME", str(with_key))
    (with_key / ".config").mkdir()
    settings_file(with_key / ".config" / "wandb", "offline")
    assert wandb_mode() == "offline"


def test_online_without_a_key_is_offline_with_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert wandb_mode() == "offline"
    assert not caplog.records
    monkeypatch.setenv("WANDB_MODE", "online")
    assert wandb_mode() == "offline"
    assert "there is no key" in caplog.text


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


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WANDB_MODE", "of-line", "WANDB_MODE is set to what .* Input should be 'online'"),
        ("WANDB_API_KEY", " secret", "API key"),
    ],
)
def test_a_variable_that_wandb_refuses_is_an_error_before_anything_starts(monkeypatch, name: str, value: str, message: str):
    check_tracking("none")
    monkeypatch.setenv(name, value)
    check_tracking("tensorboard")
    with pytest.raises(ConfigError, match=message) as caught:
        check_tracking("wandb")
    assert "secret" not in str(caught.value)


def test_secrets_are_left_out():
    config = {
        "storage": "s3://key:secret@bucket/runs",
        "wandb": {"api_key": "a", "project": "raykd"},
        "AWS_SECRET_ACCESS_KEY": "b",
        "password": "c",
        "files": ["gs://bucket/a", "https://user@host/x"],
        "tokenizer": "bert",
        "pad_token_id": 0,
        "key": "hash",
    }
    assert without_secrets(config) == {
        "storage": "s3://bucket/runs",
        "wandb": {"project": "raykd"},
        "files": ["gs://bucket/a", "https://host/x"],
        "tokenizer": "bert",
        "pad_token_id": 0,
        "key": "hash",
    }


def test_a_tracked_configuration_holds_no_secret(tmp_path: Path):
    config = {"storage": "s3://key:hunter2@bucket", "token": {"access_token": "hunter2"}}
    tracker = open_tracker("wandb", **OPTIONS, config=config, folder=str(tmp_path / "wandb"))
    tracker.finish()
    tracker = open_tracker("tensorboard", **OPTIONS, config=config, folder=str(tmp_path / "tensorboard"))
    tracker.finish()
    for file in tmp_path.rglob("*"):
        assert not file.is_file() or b"hunter2" not in file.read_bytes()
    assert read_offline_run(tmp_path / "wandb").config == {"storage": "s3://bucket", "token": {}}


def block_file(path: Path, *records: bytes) -> None:
    """A ``.wandb`` file with whole records, written by the format's description."""
    content = IDENT
    for data in records:
        content += struct.pack("<IHB", zlib.crc32(b"\x01" + data), len(data), 1) + data
    path.write_bytes(content)


def test_a_run_that_was_killed_reads_up_to_where_it_came(tmp_path: Path):
    wandb_run(tmp_path, {step: {"loss": float(step)} for step in range(1, 6)})
    (file,) = tmp_path.rglob("*.wandb")
    content = file.read_bytes()
    file.write_bytes(content[: len(content) * 2 // 3])
    history = figures(read_offline_run(file).history)
    assert 1 <= len(history) < 5
    assert all(row == {"loss": float(step)} for step, row in history.items())
    assert not is_finished(file.parent)


def test_a_changed_byte_is_noticed(tmp_path: Path):
    wandb_run(tmp_path, {1: {"loss": 1.0}})
    (file,) = tmp_path.rglob("*.wandb")
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(DataError, match="broken at byte"):
        read_offline_run(file)


def test_what_holds_no_run_is_named(tmp_path: Path):
    with pytest.raises(DataError, match=r"holds no \.wandb file"):
        read_offline_run(tmp_path)
    (tmp_path / "a.wandb").write_bytes(b"")
    with pytest.raises(DataError, match="ended before anything was written"):
        read_offline_run(tmp_path)
    (tmp_path / "a.wandb").write_bytes(b"something else")
    with pytest.raises(DataError, match=r"is not a \.wandb file"):
        read_offline_run(tmp_path)
    block_file(tmp_path / "a.wandb")
    with pytest.raises(DataError, match="ended before anything was written"):
        read_offline_run(tmp_path)


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
