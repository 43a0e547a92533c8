"""Annotations for configuration values that are paths or models, and the folder that relative ones start from.

A field of type :data:`PathField`, :data:`StoragePath` or :data:`ModelRef` has ``~`` expanded when it is validated, and starts
from the folder in the validation context (:func:`root_context`) when it is relative. Environment variables are not expanded.
"""

import glob
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, ValidationInfo

from raykd.config.section import Section
from raykd.errors import ConfigError

_ROOT = "root"


@dataclass(frozen=True)
class PathRole:
    """Mark on a field's type: the text is a path."""

    kind: Literal["input", "storage", "model"]
    """input: must exist; storage: is created; model: a folder, or a name on the model hub where no such folder is."""


def expand_home(path: str, name: str = "a path") -> str:
    """Replace a leading ``~`` or ``~user`` by the home folder. ``name`` is the option in errors.

    Raises ConfigError for a user that does not exist, an empty path, and one that no system can have.
    """
    if not path.strip() or "\0" in path:
        problem = "has a NUL character" if "\0" in path else "is empty"
        raise ConfigError(f"{name} {problem}; give the path of a file or a folder")
    expanded = os.path.expanduser(path)
    if expanded.startswith("~"):
        first = path.split("/", 1)[0]
        raise ConfigError(f"{path}: there is no home folder for {first}; write ./{path} for a file of that name")
    return expanded


def root_context(root: str | None) -> dict[str, str]:
    """The validation context in which relative paths start from ``root``; None leaves them as they are."""
    return {} if root is None else {_ROOT: os.path.abspath(expand_home(root, "root"))}


def _resolve_path(path: str, info: ValidationInfo) -> str:
    path = _expand(path)
    root = (info.context or {}).get(_ROOT)
    return path if root is None or not _is_relative(path) else os.path.normpath(os.path.join(root, path))


def _resolve_model(name: str, info: ValidationInfo) -> str:
    if not name.strip():
        raise ValueError("the model is empty; give a model folder or a model name on the Hugging Face hub")
    name = _expand(name)
    root = (info.context or {}).get(_ROOT)
    return os.path.normpath(os.path.join(root, name)) if root is not None and _is_relative_folder(name, root) else name


def _expand(path: str) -> str:
    try:
        return expand_home(path)
    except ConfigError as error:
        raise ValueError(str(error)) from None


def _is_relative(path: str) -> bool:
    return bool(path) and "://" not in path and not os.path.isabs(path)


def _is_relative_folder(name: str, root: str) -> bool:
    """True when a relative model reference is a folder; otherwise it is a name on the hub."""
    return _is_relative(name) and (name.startswith(".") or os.path.isdir(os.path.join(root, name)))


PathField = Annotated[str, PathRole("input"), AfterValidator(_resolve_path)]
"""A file or folder that is read: a path or glob, local or s3://, gs://, hdfs://."""
StoragePath = Annotated[str, PathRole("storage"), AfterValidator(_resolve_path)]
"""A folder that results are written to."""
ModelRef = Annotated[str, PathRole("model"), AfterValidator(_resolve_model)]
"""A model folder, or a name on the model hub."""


def path_roles(annotation: Any, *, in_list: bool = False) -> Iterator[tuple[bool, PathRole]]:
    """The roles that a field's type gives to its text, and whether it is the text of a list."""
    if get_origin(annotation) is Annotated:
        annotation, *marks = get_args(annotation)
        yield from ((in_list, mark) for mark in marks if isinstance(mark, PathRole))
    if not isinstance(annotation, type) or get_args(annotation):
        for inner in get_args(annotation):
            yield from path_roles(inner, in_list=in_list or get_origin(annotation) is tuple)


def field_roles(model: type[BaseModel], name: str) -> Mapping[bool, PathRole]:
    """The roles of one field's text, by whether it stands in a list."""
    field = model.model_fields[name]
    return dict(path_roles(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation))


def local_paths(config: BaseModel, folder: str, prefix: str = "") -> Iterator[tuple[str, str, list[str]]]:
    """Key, value and absolute matches of every input or model that is relative to ``folder``."""
    for key, section in config.inner_sections() if isinstance(config, Section) else ():
        yield from local_paths(section, folder, f"{prefix}{key}.")
    for name in type(config).model_fields:
        value, key = getattr(config, name), f"{prefix}{name}"
        roles = field_roles(type(config), name)
        for item in value if isinstance(value, tuple) else [value]:
            if isinstance(item, BaseModel):
                yield from local_paths(item, folder, f"{key}.")
            role = roles.get(isinstance(value, tuple))
            if isinstance(item, str) and role is not None and _is_local_input(item, role, folder):
                path = os.path.normpath(os.path.join(folder, item))
                yield key, item, glob.glob(path, recursive=True) or [path]


def _is_local_input(value: str, role: PathRole, folder: str) -> bool:
    if role.kind == "model":
        return _is_relative_folder(value, folder)
    return role.kind == "input" and _is_relative(value)
