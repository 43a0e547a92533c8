"""Content of the wheel, built without a network."""

import importlib.util
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.skipif(importlib.util.find_spec("setuptools") is None, reason="setuptools is not installed")
def test_the_wheel_has_the_package_and_nothing_else(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("raykd", "jobs", "tests", "benchmarks", "docs"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-c", f"from setuptools.build_meta import build_wheel; build_wheel({str(tmp_path)!r})"]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        job = wheel.read("raykd/demo_job.yaml")
    modules = {str(path.relative_to(ROOT)) for path in (ROOT / "raykd").rglob("*.py")}
    assert names == modules | {"raykd/__init__.pyi", "raykd/demo_job.yaml", "raykd/py.typed"}
    assert job == (ROOT / "jobs" / "demo.yaml").read_bytes()
