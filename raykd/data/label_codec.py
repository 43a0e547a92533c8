"""Label codecs: from a cell's text to the values of a prepared set's column ``label``."""

from collections.abc import Sequence
from typing import Any, Protocol

import pyarrow as pa

from raykd.data.cell_values import known_text
from raykd.errors import DataError, list_values, shorten


class LabelCodec(Protocol):
    """Parses the labels of one kind of task. Pickled to the Ray tasks that prepare chunks."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the model's outputs, in order; the prepared set carries them as its labels."""
        ...

    @property
    def identity(self) -> dict[str, Any]:
        """JSON values that distinguish this codec from others with the same names; in a prepared set's key."""
        ...

    def parse(self, cell: str) -> Any:
        """The value of a cell. Raises DataError with the cell and the allowed values."""
        ...

    def column(self, values: Sequence[Any]) -> pa.Array:
        """Arrow array of parsed values: numbers, or lists of one fixed size."""
        ...


def label_id(ids: dict[str, int], text: str) -> int:
    """The id of a label; of the integer where the text is one as a float (``1.0``). Raises DataError for an unknown one."""
    try:
        return ids[known_text(text, ids)]
    except KeyError:
        raise DataError(f"label {shorten(text)} is not one of {list_values(ids)}") from None
