"""What the driver does while trials run: keeps the journal, shows a live table, and says a line when a trial ends."""

import re
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

from raykd.config.search_space import Value
from raykd.errors import ResourceError
from raykd.run.progress import Terminal
from raykd.tune.trial_record import Journal, Stretch, TrialRecord, Work, best_of

OUT_OF_MEMORY = re.compile(r"(?i)out of memory|can't allocate memory|running low on memory")
"""What CUDA, PyTorch's CPU allocator and Ray's memory monitor say."""
SHOWN = 8
"""Trials in the live table, the running ones first."""


class Watch(tune.Callback):  # type: ignore[misc]  # Ray's classes have no types
    """Hears from Ray Tune what happens to trials."""

    def __init__(
        self,
        journal: Journal,
        *,
        metric: str,
        mode: Literal["min", "max"],
        planned: int,
        terminal: Terminal,
        on_end: Callable[[TrialRecord], None],
        patience_s: float,
    ) -> None:
        self._journal = journal
        self._metric = metric
        self._mode: Literal["min", "max"] = mode
        self._planned = planned
        self._terminal = terminal
        self._on_end = on_end
        self._patience_s = patience_s
        self._idle_since: float | None = None
        self._records = {record.index: record for record in journal.read()}
        self._seen: set[int] = set()

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

    def on_step_begin(self, *_given: Any, trials: Sequence[Any], **_: Any) -> None:
        """Ray Tune looks what to do next. Raises ResourceError when trials wait for places for too long, and none has one."""
        states = {trial.status for trial in trials}
        if "RUNNING" in states or "PENDING" not in states:
            self._idle_since = None
            return
        self._idle_since = self._idle_since or time.monotonic()
        if time.monotonic() - self._idle_since > self._patience_s:
            raise ResourceError(
                f"waited {self._patience_s:g} s (compute.start_timeout_s) for a place for a trial: none came free, "
                "somebody else holds the CPUs or GPUs; see that nodes are up and idle. The same command continues"
            )

    def on_trial_start(self, *_given: Any, trial: Any, **_: Any) -> None:
        """A trial begins, or begins again."""
        self._record(trial)

    def on_trial_result(self, *_given: Any, trial: Any, result: dict[str, Any], **_: Any) -> None:
        """A trial has evaluated."""
        before = self._record(trial)
        after = heard(before, result)
        self._keep(after)
        if after.moved and after.lineage != before.lineage:
            self._terminal.say(take_over(after))

    def on_trial_complete(self, *_given: Any, trial: Any, **_: Any) -> None:
        """A trial has run to its end, or was stopped."""
        whole = (trial.last_result or {}).get("complete", False)
        self._end(self._record(trial).model_copy(update={"status": "finished" if whole else "stopped"}))

    def on_trial_recover(self, *_given: Any, trial: Any, **_: Any) -> None:
        """A trial has failed and will be tried again."""
        record, reason = self._record(trial), _reason(trial)
        self._terminal.say(f"trial {record.index} failed and is tried again: {reason}")
        record = record.model_copy(update={"attempts": record.attempts + 1, "reason": reason})
        self._keep(record)

    def on_trial_error(self, *_given: Any, trial: Any, **_: Any) -> None:
        """A trial has failed for good."""
        self._end(self._record(trial).model_copy(update={"status": "failed", "reason": _reason(trial)}))

    def _record(self, trial: Any) -> TrialRecord:
        """The record of a trial; at its first sign of life in this run, begun or taken up again."""
        index = int(str(trial))
        if index not in self._seen:
            self._seen.add(index)
            known = self._records.get(index)
            self._keep(TrialRecord(index=index, values=trial.config["values"]) if known is None else again(known))
        return self._records[index]

    def _keep(self, record: TrialRecord) -> None:
        self._records[record.index] = record
        self._journal.write(record)

    def _end(self, record: TrialRecord) -> None:
        self._keep(record)
        self._on_end(record)
        ended = sum(one.ended for one in self._records.values())
        self._terminal.say(f"[{ended}/{self._planned}] {sentence(record, best_of(self.records, self._mode), self._metric)}")

    def _render(self) -> Group:
        best = best_of(self.records, self._mode)
        running = [record for record in self.records if not record.ended]
        ended = [record for record in reversed(self.records) if record.ended]
        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for name in (
            "trial",
            *short_names(list(self.records[0].values) if self.records else []),
            "steps",
            self._metric,
            "state",
        ):
            table.add_column(name, justify="left" if name == "state" else "right")
        for record in [*running, *ended][:SHOWN]:
            style = "bold" if best is not None and record.index == best.index else ""
            value = "–" if record.value is None else f"{record.value:.4f}"
            values = [show(value) for value in record.values.values()]
            table.add_row(str(record.index), *values, str(record.step), value, record.status, style=style)
        done = f"{len(ended)} of {self._planned} trials"
        return Group(Text(done if best is None else f"{done}; best so far: {sentence(best, None, self._metric)}"), table)


def again(record: TrialRecord) -> TrialRecord:
    """A trial that another run of the search left on its way."""
    return record.model_copy(update={"attempts": record.attempts + 1, "status": "running"})


def heard(record: TrialRecord, result: Mapping[str, Any]) -> TrialRecord:
    """The record after a report. What it was reached with is what the report says: Ray Tune may have decided on more by now."""
    update: dict[str, Any] = {
        "step": result["step"],
        "work": record.work + Work.model_validate(result["work"]),
        "seconds": record.seconds + result["time_this_iter_s"],
    }
    lineage = tuple(Stretch.model_validate(one) for one in result.get("lineage", ()))
    if lineage:
        update |= {"lineage": lineage, "values": lineage[-1].values}
    value = result.get("value")
    if value is not None:
        update |= {
            "value": value,
            "curve": (*(point for point in record.curve if point[0] < result["step"]), (result["step"], value)),
        }
    return record.model_copy(update=update)


def take_over(record: TrialRecord) -> str:
    """The last change of a trial's knobs in one line."""
    before, now = record.lineage[-2:]
    moves = ", ".join(
        f"{name} {show(before.values[path])} -> {show(value)}"
        for name, (path, value) in zip(short_names(now.values), now.values.items(), strict=True)
    )
    whose = f"took over trial {before.trial}" if before.trial != now.trial else "went on"
    return f"trial {record.index}: at step {now.step} {whose}; {moves}"


def sentence(record: TrialRecord, best: TrialRecord | None, metric: str) -> str:
    """A trial in one line."""
    knobs = ", ".join(
        f"{name} {show(value)}" for name, value in zip(short_names(record.values), record.values.values(), strict=True)
    )
    if record.status == "failed":
        return f"trial {record.index} ({knobs}) failed: {record.reason}"
    value = "without a figure" if record.value is None else f"{metric} {record.value:.4f}"
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
    if isinstance(cause, MemoryError) or OUT_OF_MEMORY.search(str(cause)):
        return f"out of memory; {last}" if last else "out of memory"
    if "ActorDied" in type(error).__name__:
        return "its process died; Ray's session folder has its log"
    return last or type(cause).__name__
