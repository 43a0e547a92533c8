"""Trackers: one writer a run. Nothing here asks a question, and nothing here stops a training."""

import json
import logging
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from raykd.data import storage
from raykd.errors import ConfigError, ResourceError
from raykd.tracking.credentials import server_answers, wandb_mode, wandb_settings, without_secrets
from raykd.tracking.offline import is_finished
from raykd.trainers.events import Evaluated, GradientShares, StepMetrics, TrainingEvent

log = logging.getLogger(__name__)

STEP_METRICS = ("loss", "learning_rate", "grad_norm", "rows_per_second", "data_wait_s", "epoch")
"""Fields of StepMetrics that are tracked besides the terms of the loss."""
INIT_TIMEOUT_S = 30.0
SERVER_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 10.0
RUN_ID_LENGTH = 128


class Tracker(Protocol):
    """Takes the figures of one run."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note figures after ``step`` optimiser steps; steps never go back."""

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Note a table of numbers and text, once."""

    def finish(self, summary: Mapping[str, float] | None = None) -> None:
        """Note the final figures and write everything out; nothing may be logged after it."""


class NullTracker:
    """Keeps nothing."""

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Nothing."""

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Nothing."""

    def finish(self, summary: Mapping[str, float] | None = None) -> None:
        """Nothing."""


class WandbTracker:
    """A run of Weights & Biases: online with a key, else kept offline in ``folder`` for ``wandb sync``.

    The same ``run_id`` continues the same run, after a restart too. A server that cannot be reached, or a key that it does
    not take, turns the run offline with a warning. Command line, machine, code and output are not sent: keys might be in them.
    """

    def __init__(
        self, *, project: str, run_name: str, group: str | None, run_id: str, config: Mapping[str, Any], folder: str
    ) -> None:
        Path(folder).mkdir(parents=True, exist_ok=True)
        self._run = _start_run(
            project=project,
            name=run_name,
            group=group,
            id=re.sub(r"[^\w.-]", "-", run_id)[-RUN_ID_LENGTH:],
            config=without_secrets(config),
            dir=folder,
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note figures; those of the same step are one row."""
        self._run.log(dict(metrics), step=step)

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Note a table."""
        import wandb

        self._run.log({name: wandb.Table(columns=list(header), data=[list(row) for row in rows])})

    def finish(self, summary: Mapping[str, float] | None = None) -> None:
        """Note the final figures and close the run; the file of an offline run is whole then."""
        self._run.summary.update(dict(summary or {}))
        self._run.finish()
        deadline = time.monotonic() + WRITE_TIMEOUT_S
        # the library comes back before its writing process is done
        while self._run.offline and not is_finished(Path(self._run.dir).parent) and time.monotonic() < deadline:
            time.sleep(0.02)


def _start_run(**given: Any) -> Any:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else the library reports its own errors, offline too
    os.environ.setdefault("WANDB_SILENT", "true")  # else it tells which settings files it loads
    import wandb

    wandb.setup(wandb.Settings(silent=True))
    mode = wandb_mode()
    kept = f"{given['name']} is kept in {given['dir']}; `wandb sync` sends it"
    if mode == "offline":
        log.info("Weights & Biases is offline here: %s", kept)
    if mode == "online" and not server_answers(wandb_settings().base_url, SERVER_TIMEOUT_S):
        log.warning("the server of Weights & Biases does not answer: %s", kept)
        mode = "offline"
    try:
        return wandb.init(mode=mode, resume="allow", reinit="create_new", settings=_settings(), **given)
    except wandb.errors.Error as error:
        if mode != "online":
            raise ResourceError(f"Weights & Biases cannot begin a run ({error}); set tracking.kind to none") from error
        log.warning("Weights & Biases did not take the run (%s): %s", " ".join(str(error).split()), kept)
        # this process holds the refused id until it ends
        given["id"] += "-offline"
        return wandb.init(mode="offline", reinit="create_new", settings=_settings(), **given)


def _settings() -> Any:
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        init_timeout=INIT_TIMEOUT_S,
        disable_code=True,
        disable_git=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


class TensorBoardTracker:
    """Event files in ``folder``. Continuing in the same folder hides what an earlier attempt wrote from that step on."""

    def __init__(self, *, config: Mapping[str, Any], folder: str) -> None:
        self._folder = folder
        self._config = json.dumps(without_secrets(config), indent=1, sort_keys=True, default=str)
        self._writer: Any = None
        self._step = 0

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note figures as scalars."""
        self._step = step
        writer = self._open(step)
        for name, value in metrics.items():
            writer.add_scalar(name, value, global_step=step)

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Note a table as Markdown."""
        lines = [header, ["---"] * len(header), *rows]
        text = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
        self._open(self._step).add_text(name, text, global_step=self._step)

    def finish(self, summary: Mapping[str, float] | None = None) -> None:
        """Note the final figures under ``summary/`` and close the file."""
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


class _Uploading:
    """A tracker that can write locally only, for a run that is kept in an object store: copied there when it is finished."""

    def __init__(self, build: Callable[[str], Tracker], folder: str) -> None:
        self._local = tempfile.TemporaryDirectory(prefix="raykd-tracking-")
        self._tracker = build(self._local.name)
        self._folder = folder

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Note figures."""
        self._tracker.log(step, metrics)

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Note a table."""
        self._tracker.table(name, header, rows)

    def finish(self, summary: Mapping[str, float] | None = None) -> None:
        """Close the tracker and copy what it wrote."""
        self._tracker.finish(summary)
        storage.upload_dir(self._local.name, self._folder)
        self._local.cleanup()


def open_tracker(
    kind: str,
    *,
    project: str,
    run_name: str,
    group: str | None,
    run_id: str,
    config: Mapping[str, Any],
    folder: str,
) -> Tracker:
    """The tracker of one run; call it in one process only. ``folder`` may be remote: it is filled at the end then.

    ``config`` is JSON-like; secrets in it are left out. Raises ConfigError for a kind other than none, wandb, tensorboard.
    """

    def build(local: str) -> Tracker:
        if kind == "wandb":
            return WandbTracker(project=project, run_name=run_name, group=group, run_id=run_id, config=config, folder=local)
        return TensorBoardTracker(config=config, folder=local)

    if kind == "none":
        return NullTracker()
    if kind not in ("wandb", "tensorboard"):
        raise ConfigError(f"tracking.kind = {kind!r} is not one of none, wandb, tensorboard; choose one of them")
    if kind == "wandb" and wandb_mode() == "disabled":
        return NullTracker()
    return _Uploading(build, folder) if "://" in folder else build(folder)


def metrics_of(event: TrainingEvent) -> dict[str, float]:
    """Metrics of an event by their tracked names; empty for events without any.

    ``train/<term>``, ``train/loss``, ``train/learning_rate``, ``train/grad_norm``, ``train/rows_per_second``,
    ``train/data_wait_s``, ``train/epoch``; ``eval/<metric>``; ``gradient_share/<term>``.
    """
    match event:
        case StepMetrics():
            metrics = {**event.terms, **{name: getattr(event, name) for name in STEP_METRICS}}
            return {f"train/{name}": value for name, value in metrics.items()}
        case Evaluated():
            return {f"eval/{name}": value for name, value in event.metrics.items()}
        case GradientShares():
            return {f"gradient_share/{name}": value for name, value in event.shares.items()}
        case _:
            return {}


def listener(tracker: Tracker) -> Callable[[TrainingEvent], None]:
    """A listener for training events that logs their metrics to ``tracker``."""

    def log_metrics(event: TrainingEvent) -> None:
        metrics = metrics_of(event)
        if metrics:
            tracker.log(event.step, metrics)

    return log_metrics
