"""Runs of Weights & Biases in this process and on a terminal of its own, and their metrics read back."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from raykd.tracking import open_tracker

OPTIONS: dict[str, Any] = {"project": "raykd", "run_name": "student kd seed 1", "group": "reviews", "run_id": "reviews-kd-1"}
CONFIG = {"student": {"objective": {"temperature": 4.0}}, "seeds": [1, 2]}


def wandb_run(folder: Path, rows: Mapping[int, Mapping[str, float]], summary: Mapping[str, float] | None = None) -> None:
    tracker = open_tracker("wandb", **OPTIONS, config=CONFIG, folder=str(folder))
    for step, metrics in rows.items():
        tracker.log(step, metrics)
    tracker.finish(summary)


def figures(history: tuple[dict[str, Any], ...]) -> dict[int, dict[str, float]]:
    """Rows by step without what the library adds."""
    return {row["_step"]: {name: value for name, value in row.items() if name[0] != "_"} for row in history}


SCRIPT = """
import logging, sys
logging.basicConfig(level=logging.WARNING)
from raykd.tracking import open_tracker
tracker = open_tracker("wandb", project="p", run_name="n", group=None, run_id="i", config={}, folder=sys.argv[1])
tracker.log(1, {"loss": 0.5})
tracker.finish()
"""


def in_a_terminal(folder: Path, **environment: str) -> tuple[int, str]:
    """Run :data:`SCRIPT` as a person would, on a terminal that nobody answers at; its exit code and what it showed."""
    keyboard, screen = os.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder)],
        stdin=screen, stdout=screen, stderr=screen, start_new_session=True, env={**os.environ, **environment},
    )  # fmt: skip
    os.close(screen)
    shown = b""
    while True:
        try:
            piece = os.read(keyboard, 4096)
        except OSError:  # the terminal of a process that has ended
            break
        if not piece:
            break
        shown += piece
    code = process.wait(timeout=60)
    os.close(keyboard)
    return code, shown.decode()


def settings_file(folder: Path, mode: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "settings").write_text(f"[default]\nmode = {mode}\n")
