"""Progress of a call from Python: lines and bars on standard error, in a notebook plain lines on standard output."""

import os
import sys
import time
from collections.abc import Callable

from rich.console import Console

from raykd.progress import Terminal

LINE_S = 10.0
"""Seconds between two lines of the same progress."""


class LineTerminal(Terminal):
    """A terminal whose bars are lines: one for each bar at most every :data:`LINE_S` seconds."""

    def __init__(self, console: Console, *, called: float | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console, called=called)
        self._clock = clock
        self._last_lines: dict[str, float] = {}

    def wait_for(self, what: str, *, log: bool = False) -> None:
        """Print a line for something awaited."""
        del log  # every bar is a line here
        super().wait_for(what)
        self.print_line(f"{what} ...")

    def advance(self, name: str, done: int, total: int, note: str = "") -> None:
        """Print a line when the last one of this bar, or its first call, is :data:`LINE_S` seconds ago."""
        super().advance(name, done, total, note)
        now = self._clock()
        if done < total and now - self._last_lines.setdefault(name, now) >= LINE_S:
            self._last_lines[name] = now
            self.print_line(f"{name}: {done} of {total}{f'  {note}' if note else ''}")


def call_terminal() -> Terminal:
    """A terminal for one call. Notebooks get lines on standard output, since their standard error looks like a failure."""
    for name, value in {"TOKENIZERS_PARALLELISM": "false", "TRANSFORMERS_VERBOSITY": "error"}.items():
        os.environ.setdefault(name, value)  # as in the command line
    called = time.time()
    if not Console().is_jupyter:
        return Terminal(called=called)
    console = Console(file=sys.stdout, force_jupyter=False, force_terminal=False, highlight=False, soft_wrap=True)
    return LineTerminal(console, called=called)
