"""The checked-in JSON Schemas follow the code and accept every job file that raykd ships."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from raykd.config import read_yaml
from raykd.config.json_schema import JOB_KINDS, job_schema, schema_text

ROOT = Path(__file__).parents[3]
JOBS = sorted((ROOT / "jobs").glob("*.yaml"))


def read(path: Path) -> Any:
    return json.loads(json.dumps(read_yaml(path)))


@pytest.mark.parametrize("kind", JOB_KINDS)
def test_the_schema_files_are_current(kind: str) -> None:
    assert (ROOT / "docs" / "schema" / f"{kind}.json").read_text() == schema_text(kind), (
        "run `python -m raykd.config.reference`"
    )


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.name)
def test_a_job_file_names_its_schema_and_follows_it(path: Path) -> None:
    first, content = path.read_text().splitlines()[0], read(path)
    kind = content.get("kind", "run")
    assert first == f"# yaml-language-server: $schema=../docs/schema/{kind}.json"
    jsonschema.validate(content, json.loads((ROOT / "docs" / "schema" / f"{kind}.json").read_text()))


@pytest.mark.parametrize("kind", JOB_KINDS)
def test_a_schema_is_valid_and_every_key_is_described(kind: str) -> None:
    schema = job_schema(kind)
    jsonschema.Draft202012Validator.check_schema(schema)
    sections = [schema, *schema["$defs"].values()]
    undescribed = [
        f"{section['title']}.{key}"
        for section in sections
        for key, value in section["properties"].items()
        if key != "kind" and not {"description", "$ref"} & value.keys()  # a section may have the description of its key
    ]
    assert not undescribed


@pytest.mark.parametrize(
    "change",
    [{"labels": [0, 1]}, {"labels": "labels.txt"}, {"validation": 0.1}, {"second_sequence": None}],
    ids=str,
)
def test_a_schema_accepts_what_raykd_accepts(change: dict[str, Any]) -> None:
    content = read(ROOT / "jobs" / "demo.yaml")
    content["data"] |= change
    del content["student"]["objective"]["kind"]
    jsonschema.validate(content, job_schema("run"))


@pytest.mark.parametrize(
    ("section", "change"),
    [("data", {"trian": ["a.tsv"]}), ("student", {"seeds": ["one"]}), ("compute", {"engine": {"kind": "horovod"}})],
    ids=str,
)
def test_a_schema_refuses_what_raykd_refuses(section: str, change: dict[str, Any]) -> None:
    content = read(ROOT / "jobs" / "demo.yaml")
    content.setdefault(section, {}).update(change)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(content, job_schema("run"))
