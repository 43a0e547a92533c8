"""A real `raykd tune` that is killed, whose trial's process is killed, that is interrupted, and that resumes each time."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from raykd.config import ExperimentConfig
from raykd.config.load_tune import load_tune
from raykd.progress import Terminal
from raykd.tune.driver import Search
from raykd.tune.trial_record import TrialJournal, TrialRecord

pytestmark = pytest.mark.ray
ROOT = Path(__file__).resolve().parents[2]
TRIALS, PATIENCE_S = 5, 180
Command = Callable[[], "Running"]


class Running:
    """The command on a job file, in a session of its own as a terminal gives it."""

    def __init__(self, job: Path, log: Path) -> None:
        environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
        self.log = log
        with log.open("w") as stream:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "raykd.cli", "tune", str(job)],
                cwd=ROOT,
                env={**environment, "PYTHONPATH": str(ROOT)},
                stdout=stream,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),  # noqa: PLW1509 (no threads yet)
            )

    def wait_for(self, what: Callable[[], Any]) -> Any:
        """The first answer that is true while the command runs."""
        deadline = time.monotonic() + PATIENCE_S
        while not (found := what()):
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log.read_text()}"
            assert time.monotonic() < deadline, f"nothing within {PATIENCE_S} s:\n{self.log.read_text()}"
            time.sleep(0.02)  # a trial here trains for seconds
        return found

    def end(self) -> int:
        """Its exit code, once it has ended."""
        return self.process.wait(PATIENCE_S)


@pytest.fixture
def job(experiment: Callable[..., ExperimentConfig], tmp_path: Path) -> Path:
    """A search of the small experiment over given logits, so that no teacher is trained."""
    draw = random.Random(1)
    (tmp_path / "logits.tsv").write_text("".join(f"{draw.gauss(0, 2):.3f},{draw.gauss(0, 2):.3f}\n" for _ in range(400)))
    base = experiment(student__seeds=[1]).model_dump(mode="json")
    base |= {"teacher": None, "logits": {"file": str(tmp_path / "logits.tsv")}}
    base["student"]["training"] |= {"epochs": 40, "evaluate_every": 50}
    search = {"kind": "tune", "name": "search", "base": base, "trials": TRIALS, "searcher": "random", "concurrency": 2}
    path = tmp_path / "search.yaml"
    path.write_text(yaml.safe_dump(search))
    return path


@pytest.fixture
def command(job: Path, tmp_path: Path) -> Iterator[Command]:
    """Starts the command; ends it with the test."""
    started: list[Running] = []

    def start() -> Running:
        started.append(Running(job, tmp_path / f"log-{len(started)}.txt"))
        return started[-1]

    yield start
    for one in started:
        if one.process.poll() is None:
            one.process.kill()
            one.process.wait()


def records(folder: Path) -> list[TrialRecord]:
    return TrialJournal(str(folder / "trials")).read()


def ended(folder: Path) -> list[TrialRecord]:
    return [record for record in records(folder) if record.ended]


def processes(folder: Path) -> dict[int, int]:
    """In which process a trial trains or trained last, by its number."""
    found = {}
    for history in folder.glob("trials/*/history.jsonl"):
        starts = [line for line in history.read_text().splitlines() if '"pid"' in line]
        found[int(history.parent.name)] = int(json.loads(starts[-1])["pid"])
    return found


def training_now(folder: Path, before: Collection[int]) -> tuple[int, int] | None:
    """A trial in the middle of its training, and its process, which is none of those before."""
    running = {record.index for record in records(folder) if record.status == "running"}
    return next(((index, one) for index, one in processes(folder).items() if index in running and one not in before), None)


def trials_of(job: Path, *overrides: str) -> list[TrialRecord]:
    """All trials, on the tests' own Ray."""
    search = Search(load_tune(job, overrides), Terminal())
    search.check()
    search.start_ray()
    try:
        return search.trials(search.plan())
    finally:
        search.close()


@pytest.mark.cluster
@pytest.mark.usefixtures("ray_session")
def test_killed_interrupted_and_continued_it_comes_to_what_it_would_have(command: Command, job: Path, tmp_path: Path) -> None:
    folder = tmp_path / "runs/search"
    first = command()
    first.wait_for(lambda: ended(folder))
    first.process.kill()
    first.end()
    before = ended(folder)
    assert 0 < len(before) < TRIALS
    files = {one.index: (folder / f"trials/{one.index:04d}/trial.json").read_bytes() for one in before}
    orphans = processes(folder).values()  # Ray has yet to notice that their driver is gone

    second = command()
    index, process = second.wait_for(lambda: training_now(folder, orphans))
    os.kill(process, signal.SIGKILL)
    second.wait_for(lambda: "is tried again" in second.log.read_text())
    os.killpg(second.process.pid, signal.SIGINT)  # what Ctrl-C does
    assert second.end() == 130
    said = second.log.read_text()
    assert f"{len(before)} of {TRIALS} trials ended before, skipped" in said
    assert f"trial {index} failed and is tried again: its process died" in said
    assert "interrupted; best so far: trial" in said
    assert said.endswith("raykd: interrupted; the same command resumes\n")
    assert "Traceback" not in said

    last = trials_of(job)
    whole = trials_of(job, "name=whole")
    assert [one.status for one in last] == ["finished"] * TRIALS
    assert [(one.values, one.value, one.step) for one in last] == [(one.values, one.value, one.step) for one in whole]
    assert all((folder / f"trials/{number:04d}/trial.json").read_bytes() == content for number, content in files.items())
    assert last[index].attempts >= 2
