"""Parts of a dry run's outline: seeds, the results that an earlier run has left, and the settings that were others then."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from raykd.config.section import Section
from raykd.data import storage

_MOST = 4
"""Changed settings that are named."""
_ABSENT = object()
_NAMED_BY_USERS = ("student.variants",)
"""Sections whose keys users choose: a key that only one side has is a change there, and another version's elsewhere."""

_FOUND_BY_RUNS = ("data.labels", "data.positive_label")
"""Settings that a run finds in the data where a job leaves them out."""


def seeds_text(seeds: Sequence[int]) -> str:
    """Seeds of a student, as in ``seeds 1, 2``."""
    return f"seed{'s' if len(seeds) != 1 else ''} {', '.join(map(str, seeds))}"


def results_note(manifests: Sequence[str]) -> str:
    """Number of a stage's results that are there, given the file that each writes last; an empty string for none.

    They may be of other settings: only a run, which reads the data, compares keys.
    """
    found = sum(storage.exists(manifest) for manifest in manifests)
    if not found:
        return ""
    return "  (a result is there)" if len(manifests) == 1 else f"  ({found} of {len(manifests)} results are there)"


def settings_note(config: Section, folder: str) -> list[str]:
    """The line that names settings in which a job differs from the last one that ran in the folder; none where it does not."""
    path = storage.join(folder, "experiment.json")
    if not storage.exists(path):
        return []
    changes = list(_changes(storage.read_json(path), config.model_dump(mode="json")))
    if not changes:
        return []
    more = f" and {len(changes) - _MOST} more" if len(changes) > _MOST else ""
    return [f"  changed since the last run: {', '.join(changes[:_MOST])}{more}; results that depend on this are made again"]


def _changes(before: Any, now: Any, path: str = "") -> Iterator[str]:
    """Path, old value and new value of each leaf that differs."""
    if not (isinstance(before, Mapping) and isinstance(now, Mapping)):
        if before != now and not (now is None and path in _FOUND_BY_RUNS):
            yield f"{path} {_text(before)} -> {_text(now)}"
        return
    strict = path.startswith(_NAMED_BY_USERS)
    for key in [*now, *(key for key in before if key not in now)]:
        if strict or (key in before and key in now):
            yield from _changes(before.get(key, _ABSENT), now.get(key, _ABSENT), f"{path}.{key}" if path else key)


def _text(value: Any) -> str:
    if value is _ABSENT:
        return "(absent)"
    if isinstance(value, Mapping):
        return "(a section)"
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
