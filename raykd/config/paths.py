"""The paths in a job file: which of its values are paths, and what they mean seen from another folder."""

import glob
import os
from collections.abc import Iterator, Mapping
from typing import Any

_PATHS = ("storage", "train", "validation", "dev", "test", "labels", "file", "folder")
"""Keys whose text is a path; lists under the data's parts are lists of paths, one under ``labels`` is not."""
_MODELS = ("model", "initial")
"""Keys whose text is a folder, or a name on the model hub where no such folder is."""


def rooted(content: Mapping[str, Any], root: str) -> dict[str, Any]:
    """A copy of a job's sections with relative paths taken from the folder ``root``; absolute ones and addresses stay."""
    return {key: _rooted(key, value, root) for key, value in content.items()}


def _rooted(key: str, value: Any, root: str) -> Any:
    if isinstance(value, Mapping):
        return rooted(value, root)
    if isinstance(value, list) and key != "labels":
        return [_rooted(key, item, root) for item in value]
    return os.path.normpath(os.path.join(root, value)) if _is_relative_path(key, value, root) else value


def _is_relative_path(key: str, value: Any, root: str) -> bool:
    if not isinstance(value, str) or "://" in value or os.path.isabs(value):
        return False
    return key in _PATHS or (key in _MODELS and (value.startswith(".") or os.path.isdir(os.path.join(root, value))))


def local_paths(content: Mapping[str, Any], root: str, prefix: str = "") -> Iterator[tuple[str, str, list[str]]]:
    """Key, value and absolute matches of every relative path to data or a model; the storage is not one of them."""
    for key, value in content.items():
        name = f"{prefix}{key}"
        for item in value if isinstance(value, list) and key != "labels" else [value]:
            if isinstance(item, Mapping):
                yield from local_paths(item, root, f"{name}.")
            elif key != "storage" and _is_relative_path(key, item, root):
                path = os.path.normpath(os.path.join(root, item))
                yield name, item, glob.glob(path, recursive=True) or [path]
