"""The order of a job: input, Ray and models side by side, rows, stages, the end."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from raykd.config import ComputeConfig
from raykd.data.folder_lock import folder_lock
from raykd.errors import ConfigError, ModelError, ResourceError
from raykd.progress import Terminal
from raykd.run import job_pipeline
from raykd.run.job_pipeline import run_pipeline
from raykd.run.stages import StageRunner
from tests.local_pipeline import LocalMetaPipeline
from tests.unit.metakd.worlds import make_config


class Recorded:
    """A job that records, in order, what is asked of it and of its runner."""

    def __init__(self, folder: Path) -> None:
        self.runner = StageRunner(
            name="run", folder=str(folder), cache=str(folder / "cache"), compute=ComputeConfig(), stages=(), terminal=Terminal()
        )
        self.asked: list[str] = []
        self.ray_is_up = threading.Event()
        self.runner.prepare_ray = lambda: self.asked.append("prepared")  # type: ignore[method-assign]  # stands in for it
        self.runner.start_ray = self._start_ray  # type: ignore[method-assign]  # stands in for it
        self.runner.close = lambda: self.asked.append("closed")  # type: ignore[method-assign]  # stands in for it

    def _start_ray(self) -> None:
        self.asked.append("Ray")
        self.main = threading.current_thread() is threading.main_thread()
        self.ray_is_up.set()

    def check(self, *, probe: bool = True) -> None:
        self.asked.append("check and probe" if probe else "check")

    def models_probe(self) -> Callable[[], None]:
        return self._probe

    def _probe(self) -> None:
        assert self.ray_is_up.wait(timeout=60), "Ray starts meanwhile, not afterwards"
        self.asked.append("probe")

    def will_train(self) -> bool:
        return True

    def start_workers(self) -> None:
        self.asked.append("workers")

    def tokenise_all(self) -> None:
        self.asked.append("tokens")

    def run(self) -> str:
        self.asked.append("run")
        return "result"


def test_models_are_probed_while_ray_starts_and_before_rows_are_tokenised(tmp_path: Path) -> None:
    job = Recorded(tmp_path)
    assert run_pipeline(job) == "result"
    assert job.main, "Ray's processes end with the thread that started them"
    assert job.asked[:3] == ["prepared", "check", "Ray"]
    assert sorted(job.asked[3:5]) == ["probe", "workers"]
    assert job.asked[5:] == ["tokens", "run", "closed"]


def test_models_are_probed_in_a_forked_worker_where_there_are_some(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Recorded(tmp_path)

    def call(probe: Callable[[], None]) -> Callable[[], None]:
        job.asked.append("called")
        return probe

    monkeypatch.setattr(job_pipeline, "is_running", lambda: True)
    monkeypatch.setattr(job_pipeline, "call_in_worker", call)
    assert run_pipeline(job) == "result"
    assert job.asked == ["prepared", "check", "Ray", "called", "workers", "probe", "tokens", "run", "closed"]


def test_a_model_that_cannot_be_probed_ends_the_run_and_ray(tmp_path: Path) -> None:
    job = Recorded(tmp_path)

    def probe() -> None:
        raise ModelError("models/teacher: unusable")

    job.models_probe = lambda: probe  # type: ignore[method-assign]  # stands in for it
    with pytest.raises(ModelError, match="unusable"):
        run_pipeline(job)
    assert job.asked == ["prepared", "check", "Ray", "workers", "closed"]


def test_an_input_that_is_wrong_ends_the_run_before_ray_starts(tmp_path: Path) -> None:
    job = Recorded(tmp_path)

    def check(*, probe: bool = True) -> None:
        del probe
        raise ConfigError("data.train: no such file")

    job.check = check  # type: ignore[method-assign]  # stands in for it
    with pytest.raises(ConfigError, match="no such file"):
        run_pipeline(job)
    assert job.asked == ["prepared", "closed"]


def test_a_second_run_of_a_folder_is_refused_before_it_writes(tmp_path: Path) -> None:
    config = make_config(tmp_path, seeds=[1])
    folder = tmp_path / "runs" / "small"
    with folder_lock(str(folder)), pytest.raises(ResourceError, match=f"{folder} is being written by another command"):
        run_pipeline(LocalMetaPipeline(config))
    assert not (folder / "experiment.json").exists()
