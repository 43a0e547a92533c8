"""The sections that a job's configuration is made of."""

from collections.abc import Iterator
from typing import Any, get_args

from pydantic import BaseModel


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
