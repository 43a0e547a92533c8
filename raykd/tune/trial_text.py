"""Trials in lines of text: their values, results, changes and errors."""

import re
from collections.abc import Mapping, Sequence

from raykd.config.search_space import Value
from raykd.tune.trial_record import TrialRecord

OUT_OF_MEMORY = re.compile(r"(?i)out of memory|can't allocate memory|running low on memory")
"""Messages of CUDA, PyTorch's CPU allocator and Ray's memory monitor."""


def trial_sentence(record: TrialRecord, best: TrialRecord | None, metric: str) -> str:
    """A trial in one line."""
    values = values_text(record.values)
    if record.status == "failed":
        return f"trial {record.index} ({values}) failed: {record.reason}"
    result = f"no {metric} yet" if record.value is None else f"{metric} {record.value:.4f}"
    stopped = f", stopped at step {record.step}" if record.status == "stopped" else ""
    mark = "; the best so far" if best is not None and best.index == record.index else ""
    return f"trial {record.index} ({values}): {result}{stopped}{mark}"


def take_over_sentence(record: TrialRecord) -> str:
    """The last change of a trial's values in one line."""
    before, now = record.lineage[-2:]
    changes = ", ".join(
        f"{name} {value_text(before.values[path])} -> {value_text(value)}"
        for name, (path, value) in zip(short_names(now.values), now.values.items(), strict=True)
    )
    source = f"took over trial {before.trial}" if before.trial != now.trial else "continued"
    return f"trial {record.index}: at step {now.step} {source}; {changes}"


def values_text(values: Mapping[str, Value]) -> str:
    """Values with the shortest names that distinguish them."""
    return ", ".join(f"{name} {value_text(value)}" for name, value in zip(short_names(values), values.values(), strict=True))


def short_names(paths: Mapping[str, Value] | Sequence[str]) -> list[str]:
    """The last words of paths, as many as distinguish them."""
    for words in range(1, 9):
        names = [".".join(path.split(".")[-words:]) for path in paths]
        if len(set(names)) == len(names):
            return names
    return list(paths)


def value_text(value: Value) -> str:
    """A hyperparameter's value, numbers with four significant digits."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def error_text(error: BaseException | None) -> str:
    """The reason why a trial failed in one line: the message of the error in its actor."""
    if error is None:
        return "unknown; Ray's session folder has the trial's log"
    cause = getattr(error, "cause", None) or error
    last = next(reversed(str(cause).strip().splitlines()), "")
    if isinstance(cause, MemoryError) or OUT_OF_MEMORY.search(str(cause)):
        return f"out of memory; {last}" if last else "out of memory"
    if "ActorDied" in type(error).__name__:
        return "its process died; Ray's session folder has its log"
    return last or type(cause).__name__
