"""Base class of the sections of a report."""

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen section of a report with a lossless JSON form; infinities and NaN are not allowed."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)
