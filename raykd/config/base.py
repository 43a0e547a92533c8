"""Base class of every configuration section."""

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen section of the configuration: unknown keys are refused, each field's docstring is its documentation.

    Text fields also accept numbers, since labels are often written ``[0, 1]``.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )


class ObjectiveSection(Section):
    """The configuration of an objective."""

    outside_key: ClassVar[frozenset[str]] = frozenset()
    """Fields that the trained weights do not depend on, or that name a model whose content is hashed instead."""

    def key_fields(self) -> dict[str, Any]:
        """Return the fields that identify a training."""
        return self.model_dump(mode="json", exclude=set(self.outside_key))
