"""Base class of every configuration section."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, GetJsonSchemaHandler, ValidationError, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema


class Section(BaseModel):
    """A frozen section of the configuration: unknown keys are refused, each field's docstring is its documentation.

    Text fields also accept numbers, since labels are often written ``[0, 1]``. A field of several kinds with a default keeps
    the default's ``kind`` when a value has no kind.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )

    @model_validator(mode="before")
    @classmethod
    def _keep_default_kind(cls, content: Any) -> Any:
        if not isinstance(content, Mapping):
            return content
        filled = {}
        for name, field in cls.model_fields.items():
            given, kind = content.get(name), getattr(field.default, "kind", None)
            if field.discriminator == "kind" and kind is not None and isinstance(given, Mapping) and "kind" not in given:
                filled[name] = {"kind": kind, **given}
        return {**content, **filled}

    def inner_sections(self) -> Iterator[tuple[str, BaseModel]]:
        """Key and content of sections that follow from this one's fields, besides the fields themselves."""
        yield from ()


class ObjectiveSection(Section):
    """The configuration of an objective, with what it needs from the job."""

    distils: ClassVar[bool] = True
    """False for training on hard labels alone, which is the baseline of a distillation."""
    needs_teacher: ClassVar[bool] = True
    """The objective reads the teacher's logits."""

    outside_key: ClassVar[frozenset[str]] = frozenset()
    """Fields that the trained weights do not depend on, or that name a model whose content is hashed instead."""

    @property
    def needs_labels_for(self) -> tuple[str, ...]:
        """Settings of the objective that need labels, as ``alpha = 0.5``; empty when it can train on unlabelled rows."""
        return ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """Warnings about valid but suspicious settings, to follow the objective's path."""
        return ()

    @property
    def summary(self) -> str:
        """Kind and settings in one line, for a model card."""
        fields = self.model_dump(exclude_none=True)
        settings = (f"{name}={_short(value)}" for name, value in fields.items() if name != "kind")
        return " ".join([fields["kind"], *settings])

    @property
    def custom_class(self) -> str | None:
        """User's class that it runs, as ``package.module:Class``; its source identifies a training too."""
        return None

    def key_fields(self) -> dict[str, Any]:
        """Return the fields that identify a training."""
        return self.model_dump(mode="json", exclude=set(self.outside_key))


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


@dataclass(frozen=True)
class PartOf:
    """Mark on a mapping: some keys of a section, which are checked when they are merged over another one."""

    model: type[BaseModel]

    def __get_pydantic_json_schema__(self, _: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the section's schema without required keys and default values."""
        whole = handler.resolve_ref_schema(handler(self.model.__pydantic_core_schema__))
        properties = {name: {key: one[key] for key in one if key != "default"} for name, one in whole["properties"].items()}
        return {key: value for key, value in whole.items() if key != "required"} | {"properties": properties}


class InvalidPartsError(ValueError):
    """Errors of parts of a section, each with its key and the model that it was checked by."""

    def __init__(self, parts: Sequence[tuple[str, type[BaseModel], ValidationError]]) -> None:
        super().__init__("; ".join(f"{key}: {error}" for key, _, error in parts))
        self.parts = tuple(parts)


def merge_sections(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of ``base`` with ``changes``, merged key by key; a section whose ``kind`` changes is replaced whole."""
    merged = dict(base)
    for key, value in changes.items():
        own = base.get(key)
        if isinstance(own, Mapping) and isinstance(value, Mapping) and value.get("kind", own.get("kind")) == own.get("kind"):
            merged[key] = merge_sections(own, value)
        else:
            merged[key] = value
    return merged


def keep_keys(content: Mapping[str, Any], like: Mapping[str, Any]) -> dict[str, Any]:
    """The keys of ``like``, in its order, with the values of ``content``."""
    return {
        key: keep_keys(content[key], value)
        if isinstance(value, Mapping) and isinstance(content[key], Mapping)
        else content[key]
        for key, value in like.items()
    }
