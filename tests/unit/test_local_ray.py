"""Cores and GPUs of this machine for a Ray of its own."""

import os
from pathlib import Path

import pytest

from raykd import local_ray


@pytest.mark.parametrize(
    ("version2", "version1", "cores"),
    [
        ("max 100000", None, 8),
        ("250000 100000", None, 2),
        ("50000 100000", None, 1),
        ("1600000 100000", None, 8),
        (None, ("-1", "100000"), 8),
        (None, ("300000", "100000"), 3),
        (None, None, 8),
        ("", None, 8),
    ],
)
def test_a_containers_limit_of_processor_time_is_a_number_of_cores(
    version2: str | None, version1: tuple[str, str] | None, cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A container of two CPUs on a large host trained on half of the host's cores."""
    files = (tmp_path / "cpu.max",), (tmp_path / "quota", tmp_path / "period")
    for paths, texts in zip(files, ((version2,), version1 or ()), strict=True):
        for path, text in zip(paths, texts, strict=False):
            if text is not None:
                path.write_text(text + "\n")
    monkeypatch.setattr(local_ray, "_QUOTA_FILES", files)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8), raising=False)
    assert local_ray.local_cores() == cores


def test_a_gpu_is_seen_by_its_device_file_unless_it_is_hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local_ray, "_GPU_FILES", str(tmp_path / "nvidia[0-9]*"))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    (tmp_path / "nvidiactl").touch()
    assert not local_ray.has_gpu()
    (tmp_path / "nvidia0").touch()
    assert local_ray.has_gpu()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert not local_ray.has_gpu()
