"""TensorBoard."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from raykd.tracking.credentials import without_secrets
from raykd.tracking.tracker import TrackedRun


class TensorBoardTracker:
    """Event files in ``folder``. A resumed run hides what an earlier attempt wrote from its first step on."""

    def __init__(self, run: TrackedRun) -> None:
        self._folder = run.folder
        self._config = json.dumps(without_secrets(run.config), indent=1, sort_keys=True, default=str)
        self._writer: Any = None
        self._step = 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics as scalars."""
        self._step = step
        writer = self._open(step)
        for name, value in metrics.items():
            writer.add_scalar(name, value, global_step=step)

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Record a table as Markdown."""
        lines = [header, ["---"] * len(header), *rows]
        text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
        self._open(self._step).add_text(name, text, global_step=self._step)

    def finish(self, summary: Mapping[str, float] | None = None) -> None:
        """Record the final metrics under ``summary/`` and close the file."""
        writer = self._open(self._step)
        for name, value in (summary or {}).items():
            writer.add_scalar(f"summary/{name}", value, global_step=self._step)
        writer.close()

    def _open(self, step: int) -> Any:
        if self._writer is None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(self._folder, purge_step=step)
            self._writer.add_text("config", f"```\n{self._config}\n```", global_step=step)
        return self._writer
