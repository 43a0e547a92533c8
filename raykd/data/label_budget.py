"""Choice of the training rows that keep their label, and selections of rows by name."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raykd.data import storage
from raykd.data.overlap import text_keys
from raykd.data.side_tables import ROW_ID
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError


@dataclass(frozen=True)
class RowSelection:
    """Some rows of a prepared set, or all others: the same rows under every tokenizer."""

    file: str
    """Names of the chosen rows, ``[n, 2]`` int64, the lowest byte first."""
    key: str
    """Identifies the choice: the rows chosen from, and their number."""
    others: bool = False
    """Select the rows that were not chosen."""

    def rows_by_shard(self) -> Mapping[int, frozenset[int]]:
        """Row numbers of the chosen rows in each shard that has any."""
        names = np.frombuffer(storage.read_bytes(self.file), "<i8").reshape(-1, 2)
        return {int(shard): frozenset(names[names[:, 0] == shard, 1].tolist()) for shard in np.unique(names[:, 0])}


def select_labelled(whole: TokenisedSet, budget: int, cache: str) -> RowSelection:
    """``budget`` rows of ``whole`` that keep their label, from ``cache`` or chosen: see :func:`choose_rows`.

    Rows with one class each are stratified by class, each present class having a row; rows with several labels by their set of
    labels; numbers not at all. Raises DataError when ``whole`` has fewer rows, or more classes than ``budget``.
    """
    if budget > whole.num_rows:
        raise DataError(
            f"data.label_budget = {budget}, but data.train has {whole.num_rows} rows; lower it, or leave it out to keep "
            "every label"
        )
    key = f"{whole.rows_fingerprint}-{budget}"
    file = storage.join(cache, "label-budgets", f"{key}.bin")
    if not storage.exists(file):
        names, strata, single = _names_and_strata(whole)
        if single and (classes := len(np.unique(strata))) > budget:
            raise DataError(f"data.label_budget = {budget} is smaller than the {classes} classes of data.train; raise it")
        chosen = choose_rows(text_keys(whole.path), strata, budget, every_stratum=single)
        storage.write_bytes(file, names[chosen].astype("<i8").tobytes())
    return RowSelection(file, key)


def choose_rows(
    keys: npt.NDArray[np.uint64], strata: npt.NDArray[np.int64], budget: int, *, every_stratum: bool
) -> npt.NDArray[np.int64]:
    """Positions of ``budget`` rows, ascending: in each stratum those with the smallest ``keys``, equal keys in row order.

    A stratum's share is proportional to its rows, by largest remainders; with ``every_stratum`` it is at least one row.
    Shapes: keys and strata ``[n]``, strata numbered from 0.
    """
    quotas = _quotas(np.bincount(strata), budget, at_least=int(every_stratum))
    order = np.lexsort((np.arange(len(keys)), keys, strata))  # by stratum, then by key
    starts = np.searchsorted(strata[order], np.arange(len(quotas)))
    ranks = np.arange(len(keys)) - starts[strata[order]]
    return np.sort(order[ranks < quotas[strata[order]]])


def _quotas(counts: npt.NDArray[np.int64], budget: int, *, at_least: int) -> npt.NDArray[np.int64]:
    """Rows of each stratum, which add up to ``budget``."""
    exact = budget * counts / counts.sum()
    quotas = np.maximum(np.floor(exact).astype(np.int64), np.minimum(counts, at_least))
    while (excess := int(quotas.sum()) - budget) != 0:
        if excess > 0:  # only the rows that `at_least` added can be too many
            index = int(np.argmax(np.where(quotas > at_least, quotas - exact, -np.inf)))
        else:
            index = int(np.argmax(np.where(quotas < counts, exact - quotas, -np.inf)))
        quotas[index] -= np.sign(excess)
    return np.asarray(quotas, np.int64)


def _names_and_strata(whole: TokenisedSet) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], bool]:
    """Names ``[n, 2]`` and strata ``[n]`` of all rows, and whether a stratum is a class."""
    groups = range(len(whole.group_rows))
    rows = pa.concat_tables([whole.read_group(group, [*ROW_ID, "label"]) for group in groups]).combine_chunks()
    names = np.stack([rows[name].to_numpy().astype(np.int64) for name in ROW_ID], axis=1)
    label = rows["label"].chunk(0)
    if pa.types.is_floating(label.type):
        return names, np.zeros(len(names), np.int64), False
    single = not pa.types.is_fixed_size_list(label.type)
    values = label.to_numpy() if single else label.flatten().to_numpy().reshape(len(names), -1)
    _, strata = np.unique(values, axis=0, return_inverse=True)
    return names, strata.reshape(-1).astype(np.int64), single
