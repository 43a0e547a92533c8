"""A small distillation as a real command in a process of its own, which tests disturb and whose weights they compare."""

import contextlib
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import yaml

from tests.cluster.heads import ROOT
from tests.cluster.processes import MARK, marked, running, wait_until
from tests.cluster.terminals import Terminal
from tests.conftest import save_model, write_rows

TRAIN_WORKER, PREDICTION_ACTOR, DATA_TASK, PREPARE_TASK = "RayTrainWorker", "MapWorker", "read_pools", "MapBatches(_apply)"
"""Words that Ray writes into the titles of its processes."""
SCORING_WORKER, KEPT_ACTOR = "RayTrainWorker.score", "KeptActor"
"""The same where Ray has this machine alone: a training worker that scores rows, and the actor that replaces a lost one."""
STAGE_LIMIT_S = 240
"""A wait for something that takes seconds on an idle machine; it fails the test, whoever else computes there."""


@dataclass(frozen=True)
class World:
    """Rows, models and a job file."""

    folder: Path
    job: Path

    @staticmethod
    def make(folder: Path, *, steps: int = 200, rows: int = 2000) -> "World":
        write_rows(folder / "train.tsv", rows, seed=1)
        write_rows(folder / "test.tsv", 101, seed=2)
        training = {"epochs": 100, "max_steps": 2 * steps, "batch_size": 16, "learning_rate": 2e-3, "log_every": 1}
        training |= {"checkpoint_steps": 10, "evaluate_every": 40}  # 100 steps a second: a stop comes many steps later
        longer = training | {"max_steps": 3 * steps, "evaluate_every": steps}
        content = {
            "name": "calm",
            "storage": str(folder / "runs"),
            "data": {
                "input_schema": "text:str:1,label:str:1",
                "first_sequence": "text",
                "label": "label",
                "labels": ["0", "1"],
                "train": [str(folder / "train.tsv")],
                "test": [str(folder / "test.tsv")],
                "validation": 0.1,
                "sequence_length": 32,
            },
            "teacher": {"model": save_model(folder / "teacher", hidden=32, seed=1), "training": training},
            "student": {"model": save_model(folder / "student", hidden=16, seed=2), "training": longer, "variants": {"kd": {}}},
            "compute": {"num_workers": 2, "placement": "wide", "start_timeout_s": 240, "collective_timeout_s": 120},
        }
        (folder / "job.yaml").write_text(yaml.safe_dump(content))
        return World(folder, folder / "job.yaml")

    def run_folder(self, name: str) -> Path:
        return self.folder / "runs" / name


def weights_in(folder: Path) -> dict[str, Any]:
    """Every trained model's tensors in a run's folder."""
    from safetensors.torch import load_file

    files = sorted(folder.rglob("model/model.safetensors"))
    return {f"{file.parent.parent.name}/{key}": tensor for file in files for key, tensor in load_file(file).items()}


def of(task: str, weights: Mapping[str, Any]) -> dict[str, Any]:
    """The part of a run's weights that one training made."""
    return {name: value for name, value in weights.items() if name.startswith(f"{task}/")}


def same(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """True when two sets of weights are the same, bit for bit."""
    return set(one) == set(other) and bool(one) and all(bool((value == other[name]).all()) for name, value in one.items())


@dataclass
class Run:
    """One command after the other on the same run folder, each in a process that can be killed."""

    world: World
    name: str
    environment: Mapping[str, str]
    sets: Sequence[str] = ()
    storage: Path | None = None
    """Storage that ``sets`` names; None is the world's own."""
    stage: str | None = None
    """The only stage to run; None is all of them."""
    draw: random.Random = field(default_factory=random.Random)
    process: "subprocess.Popen[bytes] | None" = None
    mark: str = ""
    _said: int = 0

    @property
    def folder(self) -> Path:
        return self.storage / self.name if self.storage else self.world.run_folder(self.name)

    def weights(self) -> dict[str, Any]:
        """Every trained model's tensors."""
        return weights_in(self.folder)

    @property
    def log(self) -> Path:
        return self.world.folder / f"{self.name}.log"

    def output(self) -> str:
        """Output of the commands so far."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    @property
    def variables(self) -> dict[str, str]:
        """The command's environment."""
        return {**os.environ, "PYTHONPATH": str(ROOT), **self.environment}

    def words(self, *more: str) -> list[str]:
        """The command, with more values set."""
        sets = [word for text in (f"name={self.name}", *self.sets, *more) for word in ("--set", text)]
        stage = ["--stage", self.stage] if self.stage else []
        return [sys.executable, "-m", "raykd.cli", "run", str(self.world.job), *sets, *stage]

    @contextlib.contextmanager
    def command(self, terminal: Terminal | None = None) -> Iterator["Run"]:
        """The command, running, in a terminal if one is given; whatever is left of it at the end is killed."""
        self._said = len(self.output())
        with running(self.words(), log=self.log, env=self.variables, terminal=terminal) as self.process:
            self.mark = self.environment.get("RAYKD_CLUSTER_MARK") or self._own_mark()
            yield self

    def _own_mark(self) -> str:
        """Value of ``MARK`` in the command's own environment, which is empty for a moment while ``setpriv`` becomes it."""
        assert self.process is not None
        own = psutil.Process(self.process.pid)
        marks: list[str] = []

        def appeared() -> bool:
            marks.extend(mark for mark in [own.environ().get(MARK)] if mark)
            return bool(marks)

        wait_until(appeared, "the command to start", poll_s=0.01)
        return marks[0]

    def said(self, text: str) -> bool:
        """True when the output of the present command matches."""
        return re.search(text, self.output()[self._said :]) is not None

    def count(self, text: str) -> int:
        """Number of matches in the output of all commands of this run."""
        return len(re.findall(text, self.output()))

    def wait_count(self, text: str, count: int) -> None:
        """Wait until it was said so often."""
        wait_until(lambda: self.count(text) >= count or self._ended(), f"{text!r} in:\n{self.output()}", STAGE_LIMIT_S)
        assert self.count(text) >= count, self.output()

    def wait_said(self, text: str, limit_s: float = STAGE_LIMIT_S) -> None:
        wait_until(lambda: self.said(text) or self._ended(), f"{text!r} in:\n{self.output()}", limit_s, poll_s=0.1)
        assert self.said(text), self.output()

    def _ended(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def checkpoint(self, task: str) -> int:
        """Step of a task's newest checkpoint; 0 when it has none."""
        return max(self.checkpoints(task), default=0)

    def checkpoints(self, task: str) -> list[int]:
        """Steps of a task's checkpoints."""
        folders = (self.folder / task / "checkpoints").glob("step-*")
        return sorted(int(path.name.removeprefix("step-")) for path in folders)

    def checkpoint_weights(self, task: str, step: int) -> dict[str, Any]:
        from safetensors.torch import load_file

        return dict(load_file(self.folder / task / "checkpoints" / f"step-{step:08d}" / "weights.safetensors"))

    def wait_random_step(self, task: str, *, low: int, high: int) -> int:
        """Wait until a task is somewhere after a random step; its newest checkpoint."""
        wanted = self.draw.randint(low, high)
        wait_until(
            lambda: self.checkpoint(task) >= wanted or self._ended(), f"step {wanted} of {task}:\n{self.output()}",
            STAGE_LIMIT_S, poll_s=0.02,
        )  # fmt: skip
        assert not self._ended(), self.output()
        time.sleep(self.draw.random() * 0.3)  # somewhere between two steps
        return self.checkpoint(task)

    def processes(self, title: str) -> list[psutil.Process]:
        """Processes of this run's Ray that do the work ``title`` names."""
        found = []
        for process in marked(self.mark):
            with contextlib.suppress(psutil.Error):
                words = process.cmdline()
                if words and words[0].startswith("ray::") and title in words[0]:
                    found.append(process)
        return found

    def wait_process(self, title: str) -> psutil.Process:
        """A random process with such a title, as soon as there is one."""
        found: list[psutil.Process] = []

        def appeared() -> bool:
            found[:] = self.processes(title)
            return bool(found) or self._ended()

        wait_until(appeared, f"a process {title}:\n{self.output()}", STAGE_LIMIT_S, poll_s=0.01)
        assert found, self.output()
        return self.draw.choice(found)

    def kill(self, title: str) -> int:
        """SIGKILL to such a process; its id."""
        while True:
            victim = self.wait_process(title)
            with contextlib.suppress(psutil.NoSuchProcess):  # it has ended by itself meanwhile: take another one
                victim.kill()
                return int(victim.pid)

    def signal(self, number: int) -> None:
        assert self.process is not None
        # `setpriv` has become the command by now: it replaces itself
        os.kill(self.process.pid, number)

    def end(self, limit_s: float = 2 * STAGE_LIMIT_S) -> int:
        """Wait for the command to end; its exit code."""
        assert self.process is not None
        wait_until(self._ended, f"the end of:\n{self.output()}", limit_s, poll_s=0.1)
        return int(self.process.returncode)

    def kill_driver(self) -> None:
        """SIGKILL, which leaves it no time for anything."""
        self.signal(signal.SIGKILL)
        self.end(60)


def damage(checkpoint: Path, draw: random.Random) -> None:
    """Damage a checkpoint as a crashed machine does: a file cut short, one with a wrong byte, or no manifest."""
    file = checkpoint / draw.choice(["weights.safetensors", "exp_avg.safetensors", "manifest.json"])
    content = file.read_bytes()
    at = draw.randrange(1, len(content))
    file.write_bytes(draw.choice([content[:at], content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]]))
