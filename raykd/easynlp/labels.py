"""``--label_enumerate_values`` and ``label_mapping.json``."""

import os
from collections.abc import Sequence

from raykd.data import storage
from raykd.errors import ConfigError

DEFAULT = ("0", "1")
MAPPING = "label_mapping.json"


def read_labels(value: str | None) -> tuple[str, ...]:
    """Labels in the order of their ids: from a file with one per line if it exists, else split at commas.

    Raises ConfigError for fewer than two, a duplicate, or a file that is not text.
    """
    if value is None:
        return DEFAULT
    path = os.path.expanduser(value)
    labels = _from_file(path) if _is_file(path) else tuple(value.split(","))
    if len(labels) < 2 or len(set(labels)) != len(labels):
        raise ConfigError(f"--label_enumerate_values={value} gives {list(labels)}; give at least two labels, each once")
    return labels


def _is_file(value: str) -> bool:
    return storage.exists(value) and not storage.is_dir(value)


def _from_file(path: str) -> tuple[str, ...]:
    try:
        text = storage.read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"--label_enumerate_values: {path} is not UTF-8 text ({error.reason} at byte {error.start})"
        ) from None
    return tuple(line.strip() for line in text.removesuffix("\n").split("\n"))


def write_mapping(folder: str, labels: Sequence[str]) -> None:
    """Write ``label_mapping.json``: the id of each label."""
    storage.write_json(storage.join(folder, MAPPING), {label: index for index, label in enumerate(labels)})


def read_mapping(folder: str) -> tuple[str, ...] | None:
    """Labels of a checkpoint folder in the order of their ids; none without ``label_mapping.json``.

    Raises ConfigError when its ids are not 0, 1, 2, ...
    """
    path = storage.join(folder, MAPPING)
    if not storage.exists(path):
        return None
    mapping = storage.read_json(path)
    if not isinstance(mapping, dict) or sorted(mapping.values(), key=str) != sorted(range(len(mapping)), key=str):
        raise ConfigError(f"{path} holds {mapping!r}; it gives each label one of the ids 0, 1, 2, ...")
    return tuple(sorted(mapping, key=mapping.__getitem__))
