"""Offline runs read back: metrics, tables, files that are cut off or damaged."""

import struct
import zlib
from pathlib import Path

import pytest

from raykd.errors import DataError
from raykd.tracking import open_tracker, read_offline_run, read_offline_table
from raykd.tracking.offline import BLOCK, IDENT, is_finished
from tests.unit.tracking.wandb_runs import CONFIG, OPTIONS, figures, wandb_run


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


def test_a_table_comes_back_as_it_was_noted(tmp_path: Path):
    rows = [[0, 2.345678901, "linear", None], [1, None, "cosine", "out of memory"]]
    tracker = open_tracker("wandb", **OPTIONS, config={}, folder=str(tmp_path))
    tracker.table("trials", ["trial", "temperature", "schedule", "reason"], rows)
    tracker.finish()
    assert [list(row.values()) for row in read_offline_table(tmp_path, "trials")] == rows
    with pytest.raises(DataError, match="has no table 'others'"):
        read_offline_table(tmp_path, "others")


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
