"""Labels and logits of a report, read from storage row by row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raykd.data.side_tables import SideTable, logits_numpy
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError


def load_labels(prepared: str) -> NDArray[Any]:
    """Labels of a prepared set in row order, as they are stored: ids ``[N]``, 0 and 1 ``[N, C]``, or values ``[N]``.

    Raises DataError when its rows have no labels.
    """
    rows = TokenisedSet.open(prepared)
    if rows.labels is None:
        raise DataError(f"{prepared} has no labels, so nothing can be measured on it; name the label column in data.label")
    columns = [rows.read_group(group, ["label"])["label"].combine_chunks() for group in range(len(rows.group_rows))]
    return label_array(columns, width=len(rows.labels))


def label_array(columns: Sequence[Any], *, width: int) -> NDArray[Any]:
    """Arrow columns end to end: integers as int64, floats as float64; lists of ``width`` numbers as ``[N, width]``."""
    if not columns:
        return np.empty(0, np.int64)
    listed = pa.types.is_fixed_size_list(columns[0].type)
    number = columns[0].type.value_type if listed else columns[0].type
    arrays = [column.flatten().to_numpy().reshape(-1, width) if listed else column.to_numpy() for column in columns]
    return np.concatenate(arrays).astype(np.float64 if pa.types.is_floating(number) else np.int64)


def load_logits(table: str, *, prepared: str | None = None) -> NDArray[np.float32]:
    """Logits ``[N, C]`` of a side table, in row order. Raises DataError unless it is of the rows of ``prepared``, if given."""
    side = SideTable.open(table)
    if prepared is not None:
        side.check_fits(TokenisedSet.open(prepared))
    groups: list[NDArray[Any]] = [
        logits_numpy(side.read_group(group, ["logits"])["logits"]) for group in range(len(side.group_rows))
    ]
    if not groups:
        raise DataError(f"{table} has no rows; a report needs one row at least")
    return np.concatenate(groups)
