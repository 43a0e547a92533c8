"""Base class of the sections of a report."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen part of a report that goes to JSON and back unchanged; infinities and NaN have no place in one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
