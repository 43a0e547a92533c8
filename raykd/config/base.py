"""Base class of every configuration section."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen section of the configuration: unknown keys are refused, each field's docstring is its documentation.

    Text fields also accept numbers, since labels are often written ``[0, 1]``.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )
