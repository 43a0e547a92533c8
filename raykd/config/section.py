"""Base class of every configuration section."""

from collections.abc import Mapping
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, model_validator


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
