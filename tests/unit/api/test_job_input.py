"""Jobs and overrides as callers give them."""

import contextlib
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from raykd.api.job_input import job_content, tune_content
from raykd.config import build, load_job, load_tune
from raykd.config.load import build_job
from raykd.config.load_tune import build_tune
from raykd.errors import ConfigError, RaykdError

JOBS = Path(__file__).parents[3] / "jobs"


@pytest.mark.parametrize("job", ["demo.yaml", "metakd-amazon.yaml", "levers-sst2.yaml"])
def test_path_mapping_and_object_are_the_same_job(job: str) -> None:
    path = JOBS / job
    expected = load_job(path)
    for form in (str(path), path, yaml.safe_load(path.read_text()), expected):
        content, source = job_content(form, None)
        assert build_job(content, source=source) == expected


def test_a_search_is_the_same_in_every_form() -> None:
    path = JOBS / "tune-sst2.yaml"
    expected = load_tune(path, ["trials=3", "base.student.training.epochs=1"])
    given: dict[str, Any] = yaml.safe_load(path.read_text())
    given["base"] = yaml.safe_load((JOBS / given["base"]).read_text())
    overrides = {"trials": 3, "base.student.training.epochs": 1}
    for job in (path, given, load_tune(path)):
        content, source = tune_content(job, overrides)
        assert build_tune(content, source=source) == expected


def test_overrides_as_mapping_and_as_texts_are_the_same() -> None:
    job = JOBS / "demo.yaml"
    by_path, _ = job_content(job, {"student.objective.temperature": 4.0, "student.seeds": [3]})
    by_text, _ = job_content(job, ["student.objective.temperature=4.0", "student.seeds=[3]"])
    assert by_path == by_text
    assert build(by_path).student.seeds == (3,)


def test_the_callers_mapping_stays_as_it_is() -> None:
    given = {"name": "a", "data": {"train": ["x"]}}
    content, _ = job_content(given, {"data.train": ["y"]})
    assert (given["data"]["train"], content["data"]["train"]) == (["x"], ["y"])  # type: ignore[index]  # a mapping


@pytest.mark.parametrize(
    ("job", "overrides", "message"),
    [
        (3, None, "the job is of type int; give the path of a job file"),
        (None, None, "the job is of type NoneType"),
        ({}, "a=1", "overrides is of type str"),
        ({}, 3, "overrides is of type int"),
        ({}, {"a..b": 1}, "overrides has the key 'a..b'; keys are paths"),
        ({}, {3: 1}, "overrides has the key 3"),
        ({}, ["a"], "override 'a' is not of the form a.b=c"),
        ("absent.yaml", None, "cannot read the job file absent.yaml"),
    ],
)
def test_wrong_input_is_one_sentence(job: Any, overrides: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        job_content(job, overrides)


def test_a_job_of_another_kind_is_refused() -> None:
    with pytest.raises(ConfigError, match="start it with raykd tune"):
        build_job({"kind": "tune"}, source="the job")
    with pytest.raises(ConfigError, match=r"the job is no search \(kind: tune\), but a job"):
        tune_content({"name": "a"}, None)


VALUES = st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
                      | st.dictionaries(st.text(max_size=8), inner, max_size=3), max_leaves=8)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["name", "data", "teacher", "student", "kind", "dta", "seed"]), VALUES))
def test_any_mapping_is_a_job_or_a_sentence(content: dict[str, Any]) -> None:
    with contextlib.suppress(RaykdError):  # any other error fails
        build_job(job_content(content, None)[0], source="the job")
