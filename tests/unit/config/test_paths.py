"""Paths in a configuration: every one is annotated, starts from the root, and has its home folder expanded."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import BaseModel

from raykd.config import ExperimentConfig, MetaKDConfig, TuneConfig, load_job, load_tune
from raykd.config.metakd_objectives import MetaDistillationObjective
from raykd.config.paths import expand_home, field_roles, local_paths
from raykd.errors import ConfigError
from tests.unit.config.sections import sections_of

WORDS = ("path", "folder", "file", "model")
NO_PATHS = {"name", "input_schema", "format", "delimiter", "metric", "column", "space"}
"""Fields of text whose docstring speaks of files, folders or models without being one."""
DATA = {"input_schema": "text:str:1,label:str:1", "first_sequence": "text", "label": "label", "train": ["train.tsv"]}
JOB: dict[str, Any] = {"name": "run", "data": DATA, "teacher": {"model": "large"}, "student": {"model": "small"}}
META: dict[str, Any] = {
    "kind": "meta_kd", "name": "run", "domains": ["a", "b"], "reviews": {"folder": "reviews"},
    "teacher": {"model": "large"}, "student": {"model": "small"}, "weights": {"encoder": "encoder"},
}  # fmt: skip


def holds_text(annotation: Any) -> bool:
    return annotation is str or any(holds_text(inner) for inner in getattr(annotation, "__args__", ()))


@pytest.mark.parametrize("job", [ExperimentConfig, MetaKDConfig, TuneConfig, MetaDistillationObjective])
def test_every_field_that_speaks_of_a_path_is_annotated_as_one(job: type[BaseModel]) -> None:
    forgotten = [
        f"{section.__name__}.{name}: {field.description}"
        for section in sections_of(job)
        for name, field in section.model_fields.items()
        if name not in NO_PATHS and holds_text(field.annotation) and not field_roles(section, name)
        if any(word in (field.description or "").lower() for word in WORDS)
    ]
    assert not forgotten, "annotate it with PathField, StoragePath or ModelRef, or add its name to NO_PATHS"


def write(folder: Path, content: dict[str, Any], name: str = "job.yaml") -> Path:
    (folder / name).write_text(yaml.safe_dump(content))
    return folder / name


def test_the_root_reaches_every_path(tmp_path: Path) -> None:
    for name in ("large", "encoder"):
        (tmp_path / "root" / name).mkdir(parents=True)
    root = str(tmp_path / "root")
    data = {**DATA, "validation": ["dev/*.tsv"], "test": ["/absolute.tsv", "s3://bucket/test.tsv"], "labels": "labels.txt"}
    config = load_job(write(tmp_path, {**JOB, "data": data, "logits": {"file": "logits.tsv"}}), root=root)
    assert isinstance(config, ExperimentConfig)
    assert config.storage == f"{root}/runs", "the default too"
    assert config.data.train == (f"{root}/train.tsv",)
    assert config.data.validation == (f"{root}/dev/*.tsv",)
    assert config.data.test == ("/absolute.tsv", "s3://bucket/test.tsv")
    assert config.data.labels == f"{root}/labels.txt"
    assert config.logits.file == f"{root}/logits.tsv"
    assert config.teacher is not None
    assert (config.teacher.model, config.student.model) == (f"{root}/large", "small"), "no folder: a name on the hub"
    meta = load_job(write(tmp_path, META), root=root)
    assert isinstance(meta, MetaKDConfig)
    assert meta.reviews is not None
    assert (meta.reviews.folder, meta.weights.encoder) == (f"{root}/reviews", f"{root}/encoder")
    write(tmp_path, META, "base.yaml")
    search = load_tune(write(tmp_path, {"kind": "tune", "name": "search", "base": "base.yaml"}), root=root)
    assert isinstance(search.base, MetaKDConfig)
    assert (search.base.storage, search.base.weights.encoder) == (f"{root}/runs", f"{root}/encoder")


def test_lists_of_labels_are_no_paths(tmp_path: Path) -> None:
    config = load_job(write(tmp_path, {**JOB, "data": {**DATA, "labels": ["a", "~b"]}}), root=str(tmp_path))
    assert isinstance(config, ExperimentConfig)
    assert config.data.labels == ("a", "~b")


def test_the_home_folder_is_expanded_everywhere_and_variables_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = tmp_path / "home"
    (home / "project").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(home))
    data = {**DATA, "train": ["~/a.tsv"], "validation": ["$HOME/b.tsv"], "labels": "~/labels.txt"}
    content = {**JOB, "data": data, "storage": "~/runs", "teacher": {"model": "~/large"}}
    write(home / "project", content)
    config = load_job("~/project/job.yaml", ["student.model=~/small", "data.test=[~/c.tsv]"])
    assert isinstance(config, ExperimentConfig)
    assert config.teacher is not None
    assert (config.storage, config.teacher.model, config.student.model) == tuple(
        f"{home}/{x}" for x in ("runs", "large", "small")
    )
    assert (config.data.train, config.data.test, config.data.labels) == (
        (f"{home}/a.tsv",),
        (f"{home}/c.tsv",),
        f"{home}/labels.txt",
    )
    assert config.data.validation == ("$HOME/b.tsv",)
    rooted = load_job("~/project/job.yaml", ["storage=here"], root="~/root")
    assert rooted.storage == f"{home}/root/here"
    search = {"kind": "tune", "name": "s", "base": "~/project/job.yaml", "set": {"data.test": ["~/c.tsv"]}}
    assert load_tune(write(tmp_path, search)).base.storage == f"{home}/runs"
    with pytest.raises(ConfigError, match=r"~nobody-here/runs: there is no home folder for ~nobody-here"):
        load_job("~/project/job.yaml", ["storage=~nobody-here/runs"])


def test_the_home_of_another_user_is_found() -> None:
    assert expand_home("~root/x") == f"{os.path.expanduser('~root')}/x"
    assert expand_home("a/~/b") == "a/~/b"


def test_inputs_that_are_relative_are_listed_for_a_submission(tmp_path: Path) -> None:
    (tmp_path / "encoder").mkdir()
    content = {**META, "reviews": None, "data": {**DATA, "domain": "label", "validation": ["dev.tsv"], "test": ["/t.tsv"]}}
    config = load_job(write(tmp_path, content))
    assert [(key, value) for key, value, _ in local_paths(config, str(tmp_path))] == [
        ("data.train", "train.tsv"),
        ("data.validation", "dev.tsv"),
        ("weights.encoder", "encoder"),
    ]
