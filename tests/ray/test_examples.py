"""The worked examples of the documents as a reader types them: each section's commands, on small data and tiny models.

By default tests/unit/test_docs.py checks their jobs and files alone, and tests/ray/test_run.py runs a whole distillation.
"""

import importlib.util
from pathlib import Path

import pytest

from tests.worked_examples import examples, needed_by, run_steps, save_models, write_files

pytestmark = [pytest.mark.ray, pytest.mark.long]
ELSEWHERE = {"A cluster"}
"""Examples that need more than this machine; tests/ray/test_submit_job.py submits jobs to a cluster."""
AFTER_COMMANDS = {"A finished student"}
"""Examples that need the results of another one."""
PACKAGES = {"A finished student": "onnxruntime", "A search": "optuna"}
"""Package of an extra that an example needs."""


@pytest.mark.parametrize("title", [title for title in examples() if title not in ELSEWHERE])
def test_an_example_runs_as_written(title: str, tmp_path: Path) -> None:
    package = PACKAGES.get(title)
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    steps, before = examples()[title], needed_by(title)
    write_files([*before, *steps], tmp_path)
    save_models(tmp_path, [*before, *steps])
    if title in AFTER_COMMANDS:
        run_steps(before, tmp_path)
    run_steps(steps, tmp_path)
