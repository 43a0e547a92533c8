"""A folder with a job file, in a home without tokens or addresses of a cluster."""

import os
from pathlib import Path

import pytest

from tests.unit.submit.job_files import JOB


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("RAY_AUTH", "RAY_ADDRESS", "RAY_API"))]:
        monkeypatch.delenv(name)
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    work = tmp_path / "work"
    (work / "jobs").mkdir(parents=True)
    (work / "jobs" / "demo.yaml").write_text(JOB)
    monkeypatch.chdir(work)
    return work
