"""Terminal output of the driver: a progress bar for the current work, one line for each important event."""

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from raykd.trainers.events import (
    Ended,
    Evaluated,
    NonFinite,
    Started,
    StepMetrics,
    Stopped,
    TeacherStatesChosen,
    TrainingEvent,
    Warned,
)

log = logging.getLogger(__name__)

WIDTH = 120
"""Columns of a result where no window sets them."""
NARROW = 20
"""Columns below which a window's width is not believed: some terminals report 0."""


class Terminal:
    """Prints lines and bars to stderr, so that stdout holds only results; bars only on an interactive terminal."""

    def __init__(self, console: Console | None = None, *, called: float | None = None) -> None:
        """Print to ``console``, by default on stderr. ``called`` is the time of a call from Python, None in a command."""
        self._called = called
        self.console = console or Console(stderr=True, highlight=False, soft_wrap=True)
        self._lock = threading.RLock()
        """Trainings side by side report from threads of their own."""
        self._progress: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        self._awaited: set[str] = set()
        self._trained = False
        self._steps: dict[str, int] = {}
        self._totals: dict[str, int] = {}
        self._workers: dict[str, int] = {}
        self.shows_idle_cpus = True
        """True to print a line for a training that leaves CPUs without a thread; of no interest where the job named none."""

    def print_line(self, text: str) -> None:
        """Print one line."""
        self.console.print(text, markup=False)

    @contextmanager
    def bars(self) -> Iterator[None]:
        """Show bars while the block runs; only the lines stay."""
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[note]}"), TimeRemainingColumn())
        hidden = not self.console.is_terminal  # or an empty line would stand where the bars were
        with Progress(*columns, console=self.console, transient=True, disable=hidden) as self._progress:
            yield
        self._progress, self._bars, self._awaited = None, {}, set()

    def wait_for(self, what: str, *, log: bool = False) -> None:
        """Show a bar for something awaited, until the first event of a training or :meth:`arrived`.

        With ``log`` a line where bars are not shown, for what takes long.
        """
        if log and not self.console.is_terminal:
            self.print_line(what)
        if self._progress is not None and what not in self._bars:
            self._bars[what] = self._progress.add_task(what, total=None, note="")
            self._awaited.add(what)

    def arrived(self) -> None:
        """Remove the bars of what was awaited."""
        while self._awaited:
            self._remove(self._awaited.pop())

    def advance(self, name: str, done: int, total: int, note: str = "") -> None:
        """Move a bar; the first call makes it."""
        with self._lock:
            if self._progress is None:
                return
            if name not in self._bars:
                self._bars[name] = self._progress.add_task(name, total=total, note=note)
            self._progress.update(self._bars[name], completed=done, note=note)
            if done >= total:
                self._remove(name)

    def _remove(self, name: str) -> None:
        if self._progress is not None and name in self._bars:
            self._progress.remove_task(self._bars.pop(name))
            self._progress.refresh()

    def record(self, name: str, event: TrainingEvent) -> None:
        """Show an event of the training ``name``: move its bar, print a line where a user cares."""
        with self._lock:
            self._show(name, event)

    def _show(self, name: str, event: TrainingEvent) -> None:
        self.arrived()
        match event:
            case StepMetrics():
                self._steps[name], self._totals[name] = event.step, event.total_steps
                self._first_step()
                speed = f"  {event.rows_per_second:.0f} rows/s" if event.rows_per_second else ""  # the first step has none yet
                self.advance(name, event.step, event.total_steps, f"loss {event.loss:.4f}{speed}")
            case Evaluated():
                of = f" of {self._totals[name]}" if name in self._totals else ""
                self.print_line(f"{name}: step {event.step}{of}  {metrics_text(event)}{'  best so far' if event.best else ''}")
            case TeacherStatesChosen(seconds=seconds):
                self.print_line(
                    f"{name}: teacher's states {event.chosen} (a batch: live {seconds['live']:.3f} s, "
                    f"read {seconds['read']:.3f} s, student {seconds['student']:.3f} s; {event.bytes / 1e9:.2f} GB)"
                )
            case Started():
                self._start(name, event)
            case Stopped():
                self.print_line(f"{name}: stopped after step {event.step}, with a checkpoint")
            case NonFinite(stops=False):
                self.print_line(f"warning: {name}: step {event.step}: {event}; it is not logged, training continues")
            case Warned():
                self.print_line(f"warning: {event.message}")
            case Ended():
                self._remove(name)  # patience may have ended it before its last step

    def _start(self, name: str, event: Started) -> None:
        """Print a line for a start that is not the first, and one for a first start that leaves CPUs without a thread."""
        step, workers = event.step, event.world_size
        before, self._workers[name] = self._workers.get(name), workers
        if before is None and event.threads < event.cpus and self.shows_idle_cpus:
            threads = "1 thread" if event.threads == 1 else f"{event.threads} threads"
            self.print_line(f"{name}: {threads} on {event.cpus} CPUs (compute.threads)")
        where = f"from the checkpoint at step {step}" if step else "from the beginning"
        reached = self._steps.pop(name, 0)
        if before is None and step:
            self.print_line(f"{name}: continues {where}")
        elif before is not None:
            change = f"{before} workers are now {workers}" if before != workers else "workers were lost"
            self.print_line(f"{name}: {change}, continues {where}, about {max(reached - step, 0)} steps are repeated")

    def _first_step(self) -> None:
        if not self._trained:
            self._trained = True
            start, name = (psutil.Process().create_time(), "command") if self._called is None else (self._called, "call")
            self.print_line(f"first training step {time.time() - start:.1f} s after the {name}")


def metrics_text(event: Evaluated) -> str:
    """The main metrics of an evaluation, for one line; the history has all."""
    metrics = event.metrics
    shown = dict.fromkeys([*list(metrics)[:2], "loss"])  # the most important come first
    return "  ".join(f"{key} {metrics[key]:.4f}" for key in shown if key in metrics)


def stdout_console() -> Console:
    """Console of results on stdout; wide enough for the table where no window sets the width, or one too narrow to read."""
    if sys.stdout is None or not sys.stdout.isatty():
        return Console(highlight=False, width=WIDTH)
    console = Console(highlight=False)
    return console if console.width >= NARROW else Console(highlight=False, width=WIDTH)


def print_result(*parts: RenderableType, summary: str) -> None:
    """Print a result on standard output; where a part cannot be rendered, warn and print its ``summary`` instead."""
    console = stdout_console()
    try:
        console.print(*parts, sep="\n")
    except Exception as error:  # of rich or of the terminal; the result is stored and its summary still printed
        log.warning("the table cannot be shown (%s: %s)", type(error).__name__, error)
        console.file.write(f"{summary}\n")
