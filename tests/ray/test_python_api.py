"""``raykd.run`` in a process of its own: an interrupt, the same call again, a Ray that the caller has started; a search."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import raykd
from raykd.config import ExperimentConfig

pytestmark = [pytest.mark.ray, pytest.mark.long]  # tests/ray/test_run.py calls raykd.run under a Ray that runs already

SCRIPT = """
import json, signal, sys
import pandas as pd
import raykd

signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it

if __name__ == "__main__":
    job, train, test = json.loads(sys.argv[1]), *sys.argv[2:]
    train, test = (pd.read_csv(file, sep="\\t", names=["text", "label"], dtype=str) for file in (train, test))
    try:
        raykd.run(job, data={"train": train, "test": test}, stages=["teacher"])
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    import ray
    assert not ray.is_initialized(), "the call has ended the Ray that it started"

    ray.init(address='local', num_cpus=4, include_dashboard=False, log_to_driver=False)
    rows = ray.data.from_pandas(train).repartition(3)
    result = raykd.run(job, data={"train": rows, "test": test})
    assert ray.get(ray.remote(lambda: 7).remote()) == 7, "the caller's Ray still runs"
    print(json.dumps([result.to_pandas()["name"].tolist(), result.models["kd"][0].path]))
"""
LIMIT_S = 300


def wait_for(done: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not done():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline, "the training has written no checkpoint"
        time.sleep(0.05)


def test_an_interrupted_call_resumes_and_a_running_ray_is_left_running(
    experiment: Callable[..., ExperimentConfig], small_world: dict[str, str], tmp_path: Path
) -> None:
    changes = {"teacher__training__epochs": 10, "teacher__training__checkpoint_steps": 2, "student__seeds": [1]}
    job = experiment(**changes, student__training__epochs=1).model_dump(mode="json")
    for name in ("train", "test", "input_schema"):
        del job["data"][name]
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, json.dumps(job), small_world["train"], small_world["test"]],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment, cwd=tmp_path, start_new_session=True,
    )  # fmt: skip
    try:
        history = tmp_path / "runs/small/teacher/history.jsonl"
        wait_for(lambda: history.exists() and '"event": "checkpoint"' in history.read_text(), process)
        os.killpg(process.pid, signal.SIGINT)  # as terminals and notebooks do
        output, errors = process.communicate(timeout=LIMIT_S)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
    assert process.returncode == 0, errors
    first, last = output.splitlines()
    assert first == "interrupted"
    assert json.loads(last) == [["teacher", "no_kd", "kd"], str(tmp_path / "runs/small/students/kd-seed1/model")]
    assert "teacher: continues from the checkpoint at step" in errors
    files = list((tmp_path / "runs/cache/objects").iterdir())
    assert len(files) == 2, "a data frame and a Ray dataset of the same rows are the same file"


@pytest.mark.usefixtures("ray_session")
def test_a_search_on_data_frames(
    experiment: Callable[..., ExperimentConfig], small_world: dict[str, str], tmp_path: Path
) -> None:
    train, test = (pd.read_csv(small_world[name], sep="\t", names=["text", "label"], dtype=str) for name in ("train", "test"))
    base = experiment(student__seeds=[1]).model_dump(mode="json")
    for name in ("train", "test", "input_schema"):
        del base["data"][name]
    job = {"kind": "tune", "name": "search", "base": base, "trials": 2, "final_seeds": [2]}
    result = raykd.tune(job, data={"train": train, "test": test}, overrides={"base.student.training.epochs": 1})
    assert result.folder == str(tmp_path / "runs" / "search")
    assert set(result.best) == {"student.objective.temperature", "student.objective.alpha"}
    assert result.to_pandas()["status"].tolist() == ["finished"] * 2
    (best,) = result.best_models
    assert best.pipeline()("a good film")[0]["label"] in {"0", "1"}
    assert result.report.rows == {"": len(test)}
    files = Path(tmp_path / "runs" / "cache" / "objects").iterdir()
    assert len(list(files)) == 2, "the rows of both data frames, once for all trainings"

    again = raykd.tune(job, data={"train": train, "test": test}, overrides={"base.student.training.epochs": 1})
    assert again.report == result.report, "finished trials and trainings are skipped"
