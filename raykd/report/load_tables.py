"""What a report reads from storage: labels and logits, row for row."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.data.side_tables import SideTable, logits_numpy
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError


def load_labels(prepared: str) -> NDArray[np.int64]:
    """Label ids ``[N]`` of a prepared set, or 0 and 1 ``[N, C]`` where rows have any number; in row order.

    Raises DataError when its rows have no labels.
    """
    rows = TokenisedSet.open(prepared)
    if rows.labels is None:
        raise DataError(f"{prepared} has no labels, so nothing can be measured on it; name the label column in data.label")
    columns = [rows.read_group(group, ["label"])["label"] for group in range(len(rows.group_rows))]
    if rows.multi_label:
        width = len(rows.labels)
        hot = [column.combine_chunks().flatten().to_numpy().reshape(-1, width) for column in columns]
        return np.concatenate([np.empty((0, width), np.int64), *hot]).astype(np.int64)
    return np.concatenate([np.empty(0, np.int64), *(column.to_numpy() for column in columns)]).astype(np.int64)


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
