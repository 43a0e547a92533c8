"""Weights & Biases."""

import logging
import os
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from raykd.errors import ResourceError
from raykd.tracking.credentials import server_answers, wandb_mode, wandb_settings, without_secrets
from raykd.tracking.offline import is_finished
from raykd.tracking.tracker import NullTracker, TrackedRun, Tracker

log = logging.getLogger(__name__)

INIT_TIMEOUT_S = 30.0
SERVER_TIMEOUT_S = 5.0
WRITE_TIMEOUT_S = 10.0
RUN_ID_LENGTH = 128


def open_wandb(run: TrackedRun) -> Tracker:
    """The tracker of a run; W&B's own settings may disable it."""
    return NullTracker() if wandb_mode() == "disabled" else WandbTracker(run)


class WandbTracker:
    """A run of Weights & Biases: online with a key, else offline in ``folder`` for ``wandb sync``.

    The same ``run_id`` continues the same run, also after a restart. With an unreachable server or a refused key the run
    becomes offline, with a warning. Command line, machine, code and output are not sent, since they may contain keys.
    """

    def __init__(self, run: TrackedRun) -> None:
        Path(run.folder).mkdir(parents=True, exist_ok=True)
        self._run = _start_run(
            project=run.project,
            name=run.run_name,
            group=run.group,
            id=re.sub(r"[^\w.-]", "-", run.run_id)[-RUN_ID_LENGTH:],
            config=without_secrets(run.config),
            dir=run.folder,
        )

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Record metrics; those of one step are one row."""
        self._run.log(dict(metrics), step=step)

    def table(self, name: str, header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Record a table."""
        import wandb

        self._run.log({name: wandb.Table(columns=list(header), data=[list(row) for row in rows])})

    def finish(self, summary: Mapping[str, float] | None = None) -> None:
        """Record the final metrics and close the run; the file of an offline run is complete then."""
        self._run.summary.update(dict(summary or {}))
        self._run.finish()
        deadline = time.monotonic() + WRITE_TIMEOUT_S
        # the library returns before its writing process is done
        while self._run.offline and not is_finished(Path(self._run.dir).parent) and time.monotonic() < deadline:
            time.sleep(0.02)


def _start_run(**given: Any) -> Any:
    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # else the library reports its own errors, offline too
    os.environ.setdefault("WANDB_SILENT", "true")  # else it prints which settings files it loads
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
