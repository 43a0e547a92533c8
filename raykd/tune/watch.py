"""What the driver does while trials run: keeps the journal, shows a live table, and says a line when a trial ends."""

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

from raykd.config.tune import Value
from raykd.run.progress import Terminal
from raykd.tune.record import Change, Journal, TrialRecord, Work, best_of

SHOWN = 8
"""Trials in the live table, the running ones first."""


class Watch(tune.Callback):  # type: ignore[misc]  # Ray's classes have no types
    """Hears from Ray Tune what happens to trials."""

    def __init__(
        self,
        journal: Journal,
        *,
        mode: Literal["min", "max"],
        planned: int,
        terminal: Terminal,
        on_end: Callable[[TrialRecord], None],
    ) -> None:
        self._journal = journal
        self._mode: Literal["min", "max"] = mode
        self._planned = planned
        self._terminal = terminal
        self._on_end = on_end
        self._records = {record.index: record for record in journal.read()}
        self._before: dict[int, TrialRecord] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Nothing: Ray Tune pickles its callbacks for a way of continuing that is not ours."""
        return {}

    @property
    def records(self) -> list[TrialRecord]:
        """All trials that were started, in order."""
        return [self._records[index] for index in sorted(self._records)]

    @contextmanager
    def table(self) -> Iterator[None]:
        """Show the live table while the block runs, where a person watches."""
        if not self._terminal.console.is_terminal:
            yield
            return
        with Live(get_renderable=self._render, console=self._terminal.console, refresh_per_second=2, transient=True):
            yield

    def on_trial_start(self, *_given: Any, trial: Any, **_: Any) -> None:
        """A trial begins, or begins again."""
        self._record(trial)

    def on_trial_result(self, *_given: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A trial has evaluated."""
        moved = heard(self._record(trial), trial.config["values"], result, mode=self._mode)
        before = self._before[moved.index]
        work = before.work + Work.model_validate(result["work"])
        self._keep(moved.model_copy(update={"work": work, "seconds": before.seconds + result["time_total_s"]}))

    def on_trial_complete(self, *_given: Any, trial: Any, **_: Any) -> None:
        """A trial has run to its end, or was stopped."""
        whole = (trial.last_result or {}).get("complete", False)
        self._end(self._record(trial).model_copy(update={"status": "finished" if whole else "stopped"}))

    def on_trial_recover(self, *_given: Any, trial: Any, **_: Any) -> None:
        """A trial has failed and will be tried again."""
        record, reason = self._record(trial), _reason(trial)
        self._terminal.say(f"trial {record.index} failed and is tried again: {reason}")
        record = record.model_copy(update={"attempts": record.attempts + 1, "reason": reason})
        self._before[record.index] = record
        self._keep(record)

    def on_trial_error(self, *_given: Any, trial: Any, **_: Any) -> None:
        """A trial has failed for good."""
        self._end(self._record(trial).model_copy(update={"status": "failed", "reason": _reason(trial)}))

    def _record(self, trial: Any) -> TrialRecord:
        """The record of a trial; at its first sign of life in this run, begun or taken up again."""
        index, values = trial.config["index"], trial.config["values"]
        if index not in self._before:
            known = self._records.get(index)
            self._before[index] = TrialRecord(index=index, values=values) if known is None else again(known)
            self._keep(self._before[index])
        return self._records[index]

    def _keep(self, record: TrialRecord) -> None:
        self._records[record.index] = record
        self._journal.write(record)

    def _end(self, record: TrialRecord) -> None:
        self._keep(record)
        self._on_end(record)
        ended = sum(one.ended for one in self._records.values())
        self._terminal.say(f"[{ended}/{self._planned}] {sentence(record, best_of(self.records, self._mode))}")

    def _render(self) -> Group:
        best = best_of(self.records, self._mode)
        running = [record for record in self.records if not record.ended]
        ended = [record for record in reversed(self.records) if record.ended]
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in ("trial", *short_names(list(self.records[0].values) if self.records else []), "steps", "best", "state"):
            table.add_column(name, justify="left" if name == "state" else "right")
        for record in [*running, *ended][:SHOWN]:
            style = "bold" if best is not None and record.index == best.index else ""
            value = "–" if record.value is None else f"{record.value:.4f}"
            knobs = [show(value) for value in record.values.values()]
            table.add_row(str(record.index), *knobs, str(record.step), value, record.status, style=style)
        done = f"{len(ended)} of {self._planned} trials"
        return Group(Text(done if best is None else f"{done}; best so far: {sentence(best, None)}"), table)


def again(record: TrialRecord) -> TrialRecord:
    """A trial that another run of the search left on its way."""
    return record.model_copy(update={"attempts": record.attempts + 1, "status": "running"})


def heard(
    record: TrialRecord, values: Mapping[str, Value], result: Mapping[str, Any], *, mode: Literal["min", "max"]
) -> TrialRecord:
    """The record after a report; a figure that was reached under other values does not count for these."""
    update: dict[str, Any] = {"step": result["step"]}
    known, curve = record.value, record.curve
    if dict(values) != record.values:
        change = Change(step=result["step"], values=dict(values))
        update |= {"values": dict(values), "changes": (*record.changes, change)}
        known = None
    value = result.get("value")
    if value is not None:
        better = value if known is None else (max if mode == "max" else min)(known, value)
        update |= {
            "value": better,
            "curve": (*(point for point in curve if point[0] < result["step"]), (result["step"], better)),
        }
    return record.model_copy(update=update)


def sentence(record: TrialRecord, best: TrialRecord | None) -> str:
    """A trial in one line."""
    knobs = ", ".join(
        f"{name} {show(value)}" for name, value in zip(short_names(record.values), record.values.values(), strict=True)
    )
    if record.status == "failed":
        return f"trial {record.index} ({knobs}) failed: {record.reason}"
    value = "without a figure" if record.value is None else f"{record.value:.4f}"
    stopped = f", stopped at step {record.step}" if record.status == "stopped" else ""
    mark = "; the best so far" if best is not None and best.index == record.index else ""
    return f"trial {record.index} ({knobs}): {value}{stopped}{mark}"


def short_names(paths: Mapping[str, Value] | Sequence[str]) -> list[str]:
    """The last words of paths; more of them where two would be alike."""
    for words in range(1, 9):
        names = [".".join(path.split(".")[-words:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def show(value: Value) -> str:
    """A knob's value for people."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _reason(trial: Any) -> str:
    """Why a trial of Ray Tune's failed; its error lies in a file on this machine."""
    from ray import cloudpickle

    path = trial.pickled_error_file
    return reason_of(cloudpickle.loads(Path(path).read_bytes()) if path and Path(path).exists() else None)


def reason_of(error: BaseException | None) -> str:
    """Why a trial failed, in one line: what the error in its actor said."""
    if error is None:
        return "unknown; Ray's session folder has the trial's log"
    cause = getattr(error, "cause", None) or error
    last = next(reversed(str(cause).strip().splitlines()), "")
    if "memory" in str(error).lower():
        return f"out of memory; {last}"
    if "ActorDied" in type(error).__name__:
        return "its process died; Ray's session folder has its log"
    return last or type(cause).__name__
