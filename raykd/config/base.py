"""What every section of the configuration has in common."""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """A frozen part of the configuration: unknown keys are refused, each field's docstring is its documentation.

    Where text is meant, YAML's numbers are taken as such: labels are often written ``[0, 1]``.
    """

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False, coerce_numbers_to_str=True
    )
