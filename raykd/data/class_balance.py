"""Rows of each class in a prepared set, and the weights that balance them."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from raykd.data.tokenised_set import TokenisedSet


def class_counts(prepared: TokenisedSet) -> npt.NDArray[np.int64]:
    """Labelled rows of each class ``[C]``, in the order of the ids. Reads the label column alone; rows have one class each."""
    if prepared.labels is None:
        raise ValueError(f"{prepared.path} has no labels to count")
    counts = np.zeros(len(prepared.labels), np.int64)
    groups = len(prepared.group_rows) if prepared.labelled_groups is None else prepared.labelled_groups
    for group in range(groups):
        labels = prepared.read_group(group, ["label"])["label"].to_numpy()
        counts += np.bincount(labels, minlength=len(counts))
    return counts


def balanced_weights(counts: Sequence[int] | npt.NDArray[np.int64]) -> tuple[float, ...]:
    """``rows / (classes with rows * rows of the class)`` of each class; 0 for a class without rows.

    The mean over the rows is 1, so that the loss keeps its scale.
    """
    rows = np.asarray(counts, np.float64)
    share = rows.sum() / np.count_nonzero(rows)
    return tuple(np.divide(share, rows, out=np.zeros_like(rows), where=rows > 0).tolist())
