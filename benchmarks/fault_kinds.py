"""Kinds of faults, each made in a run that continues: `benchmarks.faults` draws when, and counts what was survived."""

import contextlib
import re
import signal
import subprocess
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from tests.cluster.processes import wait_until
from tests.cluster.raylets import Raylets
from tests.cluster.runs import DATA_TASK, KEPT_ACTOR, PREDICTION_ACTOR, SCORING_WORKER, STAGE_LIMIT_S, TRAIN_WORKER, Run, damage
from tests.cluster.terminals import Terminal
from tests.cluster.tunnel import Tunnel

CONTINUES = r"continues from the checkpoint at step (\d+)"
LOST = r"workers were lost, continues from .*, about (\d+) steps are repeated"
REFUSED = "is being written by another command"
IN_WRITE = ".writing-*"
"""Folder of a checkpoint that is not whole yet, beside the others."""
OTHER_VALUE = "student.training.learning_rate=1e-6"
"""Value of a second command in the same folder."""
STOP_S = 120
"""Seconds that a stopped command has for its checkpoint on a busy machine."""

KINDS = (
    "training worker", "checkpoint write", "data task", "prediction actor", "node", "node, prediction", "drained node",
    "command, SIGKILL", "command, SIGTERM", "command, SIGHUP", "damaged checkpoint", "storage away", "two commands",
)  # fmt: skip
Fault = dict[str, Any]
"""``kind``; where known also the ``step`` it was made at, ``seconds`` of recovery and ``repeated`` steps."""


@dataclass
class DisturbedRun:
    """A run whose command is given again whenever a fault has ended it. Raises AssertionError where it does not recover."""

    run: Run
    record: Callable[[Fault], None]
    """Receives every fault, when the run has recovered."""
    kinds: Collection[str] = KINDS
    """Kinds to make; others are left out."""
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _terminal: Terminal | None = None

    def __enter__(self) -> Self:
        self._start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stack.close()

    def _start(self) -> None:
        """Give the command, in a terminal of its own."""
        self._stack.close()
        self._terminal = self._stack.enter_context(Terminal(self.run.log))
        self._stack.enter_context(self.run.command(self._terminal))

    def training_worker(self, task: str, low: int, high: int) -> None:
        """SIGKILL to one of the training workers."""
        if "training worker" in self.kinds:
            step = self.run.wait_random_step(task, low=low, high=high)
            self._lose_workers("training worker", step, lambda: self.run.kill(TRAIN_WORKER))

    def checkpoint_write(self, task: str, low: int, high: int) -> None:
        """SIGKILL to the training workers in the middle of a checkpoint's write, which leaves a part of it."""
        if "checkpoint write" in self.kinds:
            self.run.wait_random_step(task, low=low, high=high)
            workers = self._stop_in_write(self.run.folder / task / "checkpoints")
            self._lose_workers("checkpoint write", self.run.checkpoint(task), lambda: _kill(workers))

    def _stop_in_write(self, checkpoints: Path) -> list[psutil.Process]:
        """Stop the training workers while one of them writes a checkpoint; they are let go on until that is so."""
        workers, left = self.run.processes(TRAIN_WORKER), set(checkpoints.glob(IN_WRITE))

        def writes() -> bool:
            return bool(set(checkpoints.glob(IN_WRITE)) - left)

        def stopped_in_write() -> bool:
            if not writes():
                return False
            for one in workers:
                one.suspend()
            wait_until(lambda: all(one.status() == psutil.STATUS_STOPPED for one in workers), "stopped workers", poll_s=0.001)
            if writes():
                return True
            for one in workers:
                one.resume()
            return False

        wait_until(stopped_in_write, f"a checkpoint's write:\n{self.run.output()}", STAGE_LIMIT_S, poll_s=0.001)
        return workers

    def data_task(self) -> None:
        """SIGKILL to a Ray Data task, at work as soon as a training starts and for some seconds; nothing waits for it."""
        if "data task" in self.kinds:
            self.run.kill(DATA_TASK)
            self.record({"kind": "data task"})

    def prediction_actor(self) -> None:
        """SIGKILL to an actor of the prediction; recovered when there is another one."""
        if "prediction actor" in self.kinds:
            self._lose_actor("prediction actor", SCORING_WORKER, lambda _: None, successor=KEPT_ACTOR)

    def _lose_actor(self, kind: str, title: str, lose: Callable[[Any], None], *, successor: str | None = None) -> None:
        victim = self.run.wait_process(title)
        lose(victim)
        with contextlib.suppress(psutil.Error):  # gone with its node
            victim.kill()
        began = time.monotonic()
        while self.run.wait_process(successor or title).pid == victim.pid:
            time.sleep(0.1)  # the figure is in whole seconds
        self.record({"kind": kind, "seconds": time.monotonic() - began})

    def stopped_command(self, kind: str, task: str, low: int, high: int, *, damaged: bool = False) -> None:
        """Stop the command by the signal in ``kind`` and give it again, its newest checkpoint damaged on request."""
        if kind not in self.kinds and not (damaged and "damaged checkpoint" in self.kinds):
            return
        step = self.run.wait_random_step(task, low=low, high=high)
        self._stop(kind)
        stopped = self.run.checkpoint(task)
        if damaged:
            damage(self.run.folder / task / "checkpoints" / f"step-{stopped:08d}", self.run.draw)
        began = time.monotonic()
        self._start()
        self.run.wait_said(CONTINUES)
        start = int(re.findall(CONTINUES, self.run.output())[-1])
        repeated = {} if damaged or kind == "command, SIGKILL" else {"repeated": stopped - start}
        self.record({"kind": kind, "step": step, "seconds": time.monotonic() - began, **repeated})
        if damaged:
            self.record({"kind": "damaged checkpoint", "step": stopped, "repeated": stopped - start})

    def _stop(self, kind: str) -> None:
        if kind == "command, SIGKILL":
            self.run.kill_driver()
            return
        if kind == "command, SIGHUP":
            assert self._terminal is not None
            self._terminal.close()
        self.run.signal(signal.SIGHUP if kind == "command, SIGHUP" else signal.SIGTERM)
        code = self.run.end(STOP_S)
        assert code == 130, f"exit code {code} after {kind}:\n{self.run.output()}"

    def two_commands(self) -> None:
        """A second command in the same folder, with another value, as soon as the first has it; it has to be refused."""
        if "two commands" not in self.kinds:
            return
        lock = self.run.folder / "lock.json"
        wait_until(lock.exists, f"{lock}:\n{self.run.output()}", STAGE_LIMIT_S, poll_s=0.05)
        began = time.monotonic()
        words, limit_s = self.run.words(OTHER_VALUE), STAGE_LIMIT_S
        second = subprocess.run(words, env=self.run.variables, capture_output=True, text=True, timeout=limit_s, check=False)
        assert second.returncode == 2, f"the second command ended with {second.returncode}:\n{second.stderr}"
        assert REFUSED in second.stderr, second.stderr
        self.record({"kind": "two commands", "seconds": time.monotonic() - began})

    def node(self, nodes: Raylets, task: str, low: int, high: int) -> None:
        """SIGKILL to all processes of a training worker's node; another node comes."""
        if "node" in self.kinds:
            step = self.run.wait_random_step(task, low=low, high=high)
            self._lose_workers("node", step, lambda: _replace(nodes, nodes.node_of(self.run.wait_process(TRAIN_WORKER))))

    def node_in_prediction(self, nodes: Raylets) -> None:
        """The same for a prediction actor's node."""
        if "node, prediction" in self.kinds:
            self._lose_actor("node, prediction", PREDICTION_ACTOR, lambda actor: _replace(nodes, nodes.node_of(actor)))

    def drained_node(self, nodes: Raylets, task: str, evaluated: str) -> None:
        """A node that is announced to leave some time after an evaluation, and leaves as soon as there is a checkpoint."""
        if "drained node" not in self.kinds:
            return
        self.run.wait_said(evaluated)
        time.sleep(self.run.draw.uniform(0, 2))
        leaving, before = nodes.node_of(self.run.wait_process(TRAIN_WORKER)), self.run.checkpoint(task)
        nodes.drain(leaving, seconds=30)
        text = f"a checkpoint before the node goes:\n{self.run.output()}"
        wait_until(lambda: self.run.checkpoint(task) > before, text, poll_s=0.02)
        self._lose_workers("drained node", self.run.checkpoint(task), lambda: _replace(nodes, leaving))

    def storage_away(self, tunnel: Tunnel, task: str, low: int, high: int) -> None:
        """A store that is away for 5 to 20 s; recovered with the next checkpoint."""
        if "storage away" not in self.kinds:
            return
        step = self.run.wait_random_step(task, low=low, high=high)
        tunnel.cut()
        time.sleep(self.run.draw.uniform(5, 20))  # longer than one request waits, shorter than the store is waited for
        tunnel.mend()
        before, began, lost = self.run.checkpoint(task), time.monotonic(), self.run.count(LOST)
        wait_until(
            lambda: self.run.checkpoint(task) > before, f"a checkpoint after {before}:\n{self.run.output()}", STAGE_LIMIT_S
        )
        repeated = sum(map(int, re.findall(LOST, self.run.output())[lost:]))
        self.record({"kind": "storage away", "step": step, "seconds": time.monotonic() - began, "repeated": repeated})

    def _lose_workers(self, kind: str, step: int, lose: Callable[[], object]) -> None:
        """Make a fault that workers are lost by, and wait until they go on."""
        began, before = time.monotonic(), self.run.count(LOST)
        lose()
        self.run.wait_count(LOST, before + 1)
        repeated = int(re.findall(LOST, self.run.output())[-1])
        self.record({"kind": kind, "step": step, "seconds": time.monotonic() - began, "repeated": repeated})

    def finish(self) -> None:
        """Wait for the end of the run."""
        code = self.run.end()
        assert code == 0, f"exit code {code}:\n{self.run.output()}"


def _kill(processes: list[psutil.Process]) -> None:
    for one in processes:
        one.kill()


def _replace(nodes: Raylets, node: Any) -> None:
    nodes.remove(node)
    nodes.add()
