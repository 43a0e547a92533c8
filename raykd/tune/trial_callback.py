"""Ray Tune's callback in the driver: it keeps the journal, shows a live table, and prints a line when a trial ends."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from ray import tune
from rich.box import SIMPLE_HEAD
from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from raykd.errors import ResourceError
from raykd.progress import Terminal
from raykd.tune.trial_record import LineagePart, SharedWorkCount, TrialJournal, TrialRecord, best_of
from raykd.tune.trial_text import error_text, short_names, take_over_sentence, trial_sentence, value_text

MAX_ROWS = 8
"""Trials in the live table, the running ones first."""


class TrialCallback(tune.Callback):  # type: ignore[misc]  # Ray's classes have no types
    """Receives the events of Ray Tune's trials."""

    def __init__(
        self,
        journal: TrialJournal,
        *,
        metric: str,
        mode: Literal["min", "max"],
        num_trials: int,
        terminal: Terminal,
        on_end: Callable[[TrialRecord], None],
        timeout_s: float,
    ) -> None:
        self._journal = journal
        self._metric = metric
        self._mode: Literal["min", "max"] = mode
        self._num_trials = num_trials
        self._terminal = terminal
        self._on_end = on_end
        self._timeout_s = timeout_s
        self._idle_since: float | None = None
        self._records = {record.index: record for record in journal.read()}
        self._started: set[int] = set()

    def __getstate__(self) -> dict[str, Any]:
        """Return nothing: Ray Tune pickles its callbacks for its own way to resume, which is not used."""
        return {}

    @property
    def records(self) -> list[TrialRecord]:
        """All trials that were started, in order."""
        return [self._records[index] for index in sorted(self._records)]

    @contextmanager
    def table(self) -> Iterator[None]:
        """Show the live table during the block, on a terminal."""
        if not self._terminal.console.is_terminal:
            yield
            return
        with Live(get_renderable=self._render, console=self._terminal.console, refresh_per_second=2, transient=True):
            yield

    def on_step_begin(self, *_given: Any, trials: Sequence[Any], **_: Any) -> None:
        """Raise ResourceError when no trial runs and one waits for resources longer than the timeout."""
        states = {trial.status for trial in trials}
        if "RUNNING" in states or "PENDING" not in states:
            self._idle_since = None
            return
        self._idle_since = self._idle_since or time.monotonic()
        if time.monotonic() - self._idle_since > self._timeout_s:
            raise ResourceError(
                f"waited {self._timeout_s:g} s (compute.start_timeout_s) for the CPUs or GPUs of a trial: none became free, "
                "another program holds them; check that nodes are up and idle. The same command continues"
            )

    def on_trial_start(self, *_given: Any, trial: Any, **_: Any) -> None:
        """Record a trial that starts, or starts again."""
        self._record(trial)

    def on_trial_result(self, *_given: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
        """Record an evaluation."""
        before = self._record(trial)
        after = with_report(before, result)
        self._keep(after)
        if after.values_changed and after.lineage != before.lineage:
            self._terminal.print_line(take_over_sentence(after))

    def on_trial_complete(self, *_given: Any, trial: Any, **_: Any) -> None:
        """Record a trial that finished or was stopped."""
        whole = (trial.last_result or {}).get("complete", False)
        self._end(self._record(trial).model_copy(update={"status": "finished" if whole else "stopped"}))

    def on_trial_recover(self, *_given: Any, trial: Any, **_: Any) -> None:
        """Record a failed trial that will be retried."""
        record, reason = self._record(trial), _error_of(trial)
        self._terminal.print_line(f"trial {record.index} failed and is tried again: {reason}")
        record = record.model_copy(update={"attempts": record.attempts + 1, "reason": reason})
        self._keep(record)

    def on_trial_error(self, *_given: Any, trial: Any, **_: Any) -> None:
        """Record a trial that failed after all retries."""
        self._end(self._record(trial).model_copy(update={"status": "failed", "reason": _error_of(trial)}))

    def _record(self, trial: Any) -> TrialRecord:
        """The record of a trial, made or taken up again at the trial's first event in this run."""
        index = int(str(trial))
        if index not in self._started:
            self._started.add(index)
            known = self._records.get(index)
            self._keep(TrialRecord(index=index, values=trial.config["values"]) if known is None else restarted(known))
        return self._records[index]

    def _keep(self, record: TrialRecord) -> None:
        self._records[record.index] = record
        self._journal.write(record)

    def _end(self, record: TrialRecord) -> None:
        self._keep(record)
        self._on_end(record)
        ended = sum(one.ended for one in self._records.values())
        sentence = trial_sentence(record, best_of(self.records, self._mode), self._metric)
        self._terminal.print_line(f"[{ended}/{self._num_trials}] {sentence}")

    def _render(self) -> Group:
        best = best_of(self.records, self._mode)
        running = [record for record in self.records if not record.ended]
        ended = [record for record in reversed(self.records) if record.ended]
        names = short_names(list(self.records[0].values) if self.records else [])
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in ("trial", *names, "steps", self._metric, "state"):
            table.add_column(name, justify="left" if name == "state" else "right")
        for record in [*running, *ended][:MAX_ROWS]:
            style = "bold" if best is not None and record.index == best.index else ""
            value = "–" if record.value is None else f"{record.value:.4f}"
            values = [value_text(value) for value in record.values.values()]
            table.add_row(str(record.index), *values, str(record.step), value, record.status, style=style)
        done = f"{len(ended)} of {self._num_trials} trials"
        so_far = "" if best is None else f"; best so far: {trial_sentence(best, None, self._metric)}"
        return Group(Text(done + so_far), table)


def restarted(record: TrialRecord) -> TrialRecord:
    """The record of a trial that an earlier run of the search did not end."""
    return record.model_copy(update={"attempts": record.attempts + 1, "status": "running"})


def with_report(record: TrialRecord, result: Mapping[str, Any]) -> TrialRecord:
    """The record after a report. Its values are those in the report: Ray Tune may have decided on others by now."""
    update: dict[str, Any] = {
        "step": result["step"],
        "work": record.work + SharedWorkCount.model_validate(result["work"]),
        "seconds": record.seconds + result["time_this_iter_s"],
    }
    lineage = tuple(LineagePart.model_validate(one) for one in result.get("lineage", ()))
    if lineage:
        update |= {"lineage": lineage, "values": lineage[-1].values}
    value = result.get("value")
    if value is not None:
        update |= {
            "value": value,
            "curve": (*(point for point in record.curve if point[0] < result["step"]), (result["step"], value)),
        }
    return record.model_copy(update=update)


def _error_of(trial: Any) -> str:
    """The reason why a trial of Ray Tune's failed; its error is in a file on this machine."""
    from ray import cloudpickle

    path = trial.pickled_error_file
    return error_text(cloudpickle.loads(Path(path).read_bytes()) if path and Path(path).exists() else None)
