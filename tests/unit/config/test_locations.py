"""Places of errors, and the words for what is allowed in them."""

import re
import types
from collections.abc import Iterator
from typing import Any, Union, get_args, get_origin

import pytest
from pydantic import BaseModel

from raykd.config import ExperimentConfig, MetaKDConfig, TuneConfig
from raykd.config.locations import allowed_text, locate_key, nearest_key
from tests.unit.config.sections import sections_of


def unions(annotation: Any) -> Iterator[tuple[Any, ...]]:
    if get_origin(annotation) in (Union, types.UnionType):
        yield tuple(inner for inner in get_args(annotation) if inner is not type(None))
    for inner in get_args(annotation):
        yield from unions(inner)


@pytest.mark.parametrize("job", [ExperimentConfig, MetaKDConfig, TuneConfig])
def test_every_union_of_a_job_has_words(job: type[BaseModel]) -> None:
    """None shows Python's name of a type."""
    found = [
        allowed_text(options, None)
        for section in sections_of(job)
        for field in section.model_fields.values()
        for options in unions(field.annotation)
    ]
    assert found
    assert not [text for text in found if re.search(r"tuple|str\b|int\b|Literal|class|constrained", text)]


@pytest.mark.parametrize(
    ("root", "location", "keys"),
    [
        (ExperimentConfig, ("student", "objective", "vanilla_kd", "alpha"), "student.objective.alpha"),
        (ExperimentConfig, ("student", "init", "from"), "student.init.from"),
        (ExperimentConfig, ("teachers", 1, "causal_lm", "answers", "good"), "teachers.1.answers.good"),
        (ExperimentConfig, ("data", "test", "tuple[str, ...]", 0), "data.test.0"),
        (ExperimentConfig, ("compute", "num_workers", "constrained-int"), "compute.num_workers"),
        (
            TuneConfig,
            ("space", "student.objective.alpha", "grid", "values", 2, "bool"),
            "space.student.objective.alpha.values.2",
        ),
        (TuneConfig, ("space", "grid", "grid", "values"), "space.grid.values"),
        (TuneConfig, ("space", "a", "[key]"), "space.a"),
    ],
)
def test_a_place_has_the_keys_of_the_file(root: type[BaseModel], location: tuple[str | int, ...], keys: str) -> None:
    assert ".".join(locate_key(location, root).keys) == keys


def test_a_key_of_another_kind_is_named_with_those_kinds() -> None:
    location = ("student", "objective", "mse_kd", "temperature")
    assert nearest_key(location, ExperimentConfig) == "; it belongs to kind: vanilla_kd, decoupled_kd, dist_kd"
    assert nearest_key((*location[:-1], "alhpa"), ExperimentConfig) == "; did you mean alpha?"
