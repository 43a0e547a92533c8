"""Batches of a row group sorted by length, for evaluation and scoring: little padding, memory for one row group."""

from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raykd.data.batch import Batch, collate
from raykd.data.padding import PaddingRule
from raykd.data.tokenised_set import TokenisedSet


def length_batches(
    prepared: TokenisedSet,
    group: int,
    *,
    batch_rows: int,
    with_token_types: bool,
    padding: PaddingRule,
    unpadded: bool = False,
    columns: Sequence[str] = (),
    chosen: NDArray[np.int64] | None = None,
    rank: int = 0,
    world_size: int = 1,
    share: tuple[int, int] = (0, 1),
) -> tuple[NDArray[np.int64], Iterator[Batch]]:
    """Positions of a row group's rows in order of length, ``[n]``, and one worker's batches in that order.

    ``share`` (i, n) limits both to the batches i, i + n, i + 2n, ... of all.

    Each run of ``batch_rows * world_size`` rows is split over the workers with one padded length: all run the same number of
    forward passes, with a row that is not valid where a worker has none. ``columns`` are read in addition to the tokens;
    ``chosen`` are the positions to use, None uses all; ``unpadded`` as for :func:`~raykd.data.batch.collate`.
    """
    types = ["token_type_ids"] if with_token_types else []
    table = prepared.read_group(group, ["shard", "row", "length", "input_ids", *types, *columns])
    lengths = table["length"].to_numpy()
    order = np.argsort(lengths if chosen is None else lengths[chosen], kind="stable")
    order = order if chosen is None else chosen[order]

    size = batch_rows * world_size
    chunks = [order[start : start + size] for start in range(share[0] * size, len(order), share[1] * size)]

    def batches() -> Iterator[Batch]:
        for rows in chunks:
            yield collate(
                table.take(pa.array(rows[rank::world_size])),
                padded_length=padding.length(int(lengths[rows[-1]])),
                pad_token_id=prepared.pad_token_id,
                with_token_types=with_token_types,
                padding_side=prepared.padding_side,
                unpadded=unpadded,
            )

    return np.concatenate([order[:0], *chunks]), batches()
