"""Errors of a configuration: the key as it stands in the file, each key once, and what is allowed there."""

from typing import Any

import pytest

from raykd.config import ExperimentConfig, TuneConfig
from raykd.config.load import validate
from raykd.errors import ConfigError
from tests.unit.config.sections import minimal

PATHS = "give a list of paths, as in [a.tsv, b.tsv], or a number above 0 and below 1"
WORKERS = "give a whole number of at least 1, or a list of two whole numbers, as in [1, 2]"
TEMPERATURE = "space.student.objective.temperature"


def lines(model: type[ExperimentConfig] | type[TuneConfig], content: dict[str, Any]) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        validate(model, content, source="job")
    return str(caught.value).removeprefix("job: ").split("\n  ")


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("data.validation", "dev.tsv", PATHS.replace("a.tsv, b.tsv", "dev.tsv")),
        ("data.validation", 1.5, PATHS),
        ("data.validation", None, PATHS),
        ("data.test", "a.tsv", "give a list of paths, as in [a.tsv], a number above 0 and below 1, or 'validation'"),
        ("data.labels", {"a": 1}, "give a list of texts, as in [a, b], or a path"),
        ("compute.num_workers", 0, WORKERS),
        ("compute.num_workers", [1, 2, 3], WORKERS),
        ("compute.num_workers", "two", WORKERS),
        ("compute.threads", "all", "give 'auto', or a whole number of at least 1"),
        ("logits.column", ["a"], "give a whole number of at least 0, or text"),
        ("student.intermediate.layers", 3, "give 'uniform' or 'last', or a list of pairs, as in [[0, 1], [2, 3]]"),
    ],
)
def test_a_value_of_several_types_has_one_sentence(key: str, value: Any, expected: str) -> None:
    assert lines(ExperimentConfig, minimal(**{key.replace(".", "__"): value})) == [f"{key} = {value!r}: {expected}"]


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("data.validation", ["a.tsv", None], "data.validation.1 = None: text is needed here; put it in quotes"),
        ("compute.num_workers", [0, 2], "compute.num_workers.0 = 0: input should be greater than or equal to 1"),
        ("data.labels", "~no-such-user/x", "data.labels: ~no-such-user/x: there is no home folder for ~no-such-user"),
        ("student.objective", {"kind": ["a"]}, "student.objective.kind = ['a']: use one of 'fine_tune'"),
    ],
)
def test_an_error_inside_a_value_stands_alone(key: str, value: Any, expected: str) -> None:
    (line,) = lines(ExperimentConfig, minimal(**{key.replace(".", "__"): value}))
    assert line.startswith(expected)


def test_a_number_that_python_does_not_write_is_an_error_too() -> None:
    (line,) = lines(ExperimentConfig, minimal(student__seeds=10**5000))
    assert line == "student.seeds = a number of more than 4,300 digits: a list is needed here, as in [a, b]"


@pytest.mark.parametrize(
    ("key", "value", "expected"),
    [
        ("compute", {"threads": 3, "cpus_per_worker": 2}, "compute.threads = 3 is over cpus_per_worker = 2"),
        ("compute.num_workers", [5, 2], "compute.num_workers = [5, 2]: the first number is the minimum"),
        ("teacher", {"kind": "causal_lm", "model": "m", "prompt": "x", "answers": {}}, "teacher.prompt = 'x' has no {text}"),
        ("data.train", [], "data.train names no files"),
    ],
)
def test_a_message_of_a_section_names_its_path_once(key: str, value: Any, expected: str) -> None:
    (line,) = lines(ExperimentConfig, minimal(**{key.replace(".", "__"): value}))
    assert line.startswith(expected)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"trials": 0}, "trials = 0: input should be greater than or equal to 1"),
        ({"kind": "x"}, "kind = 'x': input should be 'tune'"),
        ({"space": 5}, "space = 5: a section is needed here, as in {key: value}; {} has no keys"),
        ({"final_seeds": []}, "final_seeds = []: list at least one value"),
    ],
)
def test_values_that_follow_from_a_wrong_one_are_not_named(changes: dict[str, Any], expected: str) -> None:
    assert lines(TuneConfig, {"name": "search", "base": minimal(), **changes}) == [expected]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"kind": "choice", "values": []}, ".values = []: list at least one value"),
        ({"kind": "choice", "values": [[1]]}, ".values.0 = [1]: give true or false, a number, or text"),
        ({"kind": "choice", "values": [1, 1]}, ".values = [1, 1]: a value is listed twice"),
        ({"kind": "uniform", "low": 2, "high": 1}, ".low = 2 and high = 1: low lies below high"),
        ({"kind": "uniform", "low": 2}, ".high is missing"),
        ({"kind": "normal"}, ".kind = 'normal': use one of 'uniform', 'loguniform', 'quniform', 'choice', 'grid'"),
        ({}, ".kind is missing"),
        (3, " = 3: a section is needed here, with keys of its own"),
    ],
)
def test_a_hyperparameter_is_named(given: Any, expected: str) -> None:
    space = {"student.objective.temperature": given}
    assert lines(TuneConfig, {"name": "search", "base": minimal(), "space": space}) == [TEMPERATURE + expected]


def test_an_unknown_key_of_a_hyperparameter_is_named_with_those_of_its_kind() -> None:
    space = {"student.objective.temperature": {"kind": "uniform", "low": 1, "high": 2, "hihg": 3}}
    expected = f"unknown key {TEMPERATURE}.hihg; did you mean high?"
    assert lines(TuneConfig, {"name": "search", "base": minimal(), "space": space}) == [expected]
