"""The sections that a job's configuration is made of."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel

from raykd.config import merge


def sections_of(annotation: Any, seen: set[type[BaseModel]] | None = None) -> Iterator[type[BaseModel]]:
    """A configuration class and every class that its fields hold, each once."""
    seen = set() if seen is None else seen
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        if annotation in seen:
            return
        seen.add(annotation)
        yield annotation
        for field in annotation.model_fields.values():
            yield from sections_of(field.annotation, seen)
    for inner in get_args(annotation):
        yield from sections_of(inner, seen)


def minimal(**changes: Any) -> dict[str, Any]:
    """A job file with what it must have; keys of ``changes`` are paths joined by two underscores."""
    data = {"input_schema": "text:str:1,label:str:1", "first_sequence": "text", "label": "label", "train": ["train.tsv"]}
    content = {"name": "run", "data": data, "teacher": {"model": "large"}, "student": {"model": "small"}}
    return merge(content, [(path.split("__"), value) for path, value in changes.items()])
