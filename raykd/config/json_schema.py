"""JSON Schema of the job files, which editors use to complete and check them: ``raykd schema``."""

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from raykd.config.experiment import ExperimentConfig
from raykd.config.metakd import MetaKDConfig
from raykd.config.section import Section
from raykd.config.tune import TuneConfig

JOB_KINDS: dict[str, type[Section]] = {"run": ExperimentConfig, "meta_kd": MetaKDConfig, "tune": TuneConfig}
"""Configuration of each kind of job file. ``run`` is the kind of a file without the key ``kind``."""

SET = "Values of the base to replace: a mapping from paths such as `student.training.epochs` to values."


class _JobFileSchema(GenerateJsonSchema):
    """Pydantic's schema of a job file, extended by numbers as text and by sections without ``kind``."""

    def str_schema(self, schema: core_schema.StringSchema) -> JsonSchemaValue:
        """Text, or a number: ``labels: [0, 1]`` is read as text."""
        return {**super().str_schema(schema), "type": ["string", "number"]}

    def tagged_union_schema(self, schema: core_schema.TaggedUnionSchema) -> JsonSchemaValue:
        """Any of the sections: without ``kind``, keys that several sections share match several of them."""
        generated = super().tagged_union_schema(schema)
        return {"anyOf": generated["oneOf"]}


def job_schema(kind: str) -> dict[str, Any]:
    """The JSON Schema of one kind of job file."""
    schema = JOB_KINDS[kind].model_json_schema(schema_generator=_JobFileSchema)
    if kind == "tune":
        _allow_file_form(schema)
    return {"$schema": GenerateJsonSchema.schema_dialect, **schema}


def schema_text(kind: str) -> str:
    """The schema as JSON text, one key per line."""
    return json.dumps(job_schema(kind), indent=1, ensure_ascii=False) + "\n"


def _allow_file_form(schema: dict[str, Any]) -> None:
    """Add the differences of a search's file: a base by path, a base without a name, `set`, no `space`."""
    properties = schema["properties"]
    properties["base"]["anyOf"].append({"type": "string"})
    properties["set"] = {"type": "object", "description": SET}
    for model in (ExperimentConfig, MetaKDConfig):
        schema["$defs"][model.__name__]["required"].remove("name")
