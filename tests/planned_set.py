"""Prepared sets and side tables whose every value follows from the number of its row."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from raykd.data.parquet_files import write_part
from raykd.data.side_tables import SideTable, commit, logits_array
from raykd.data.tokenised_set import TokenisedSet

GROUPS = (700, 1, 512, 700, 300)
MAX_LENGTH = 24


def lengths_of(rows: np.ndarray) -> np.ndarray:
    return (rows * 7 % (MAX_LENGTH - 2) + 3).astype(np.int32)


def tokens_of(row: int) -> list[int]:
    return [row % 1000 + i for i in range(int(lengths_of(np.array([row]))[0]))]


def logits_of(rows: np.ndarray) -> np.ndarray:
    return np.stack([rows / 3, -rows / 7], axis=1).astype(np.float32)


def _named(rows: np.ndarray) -> dict[str, pa.Array]:
    return {"shard": pa.array(np.zeros(len(rows), dtype=np.int32)), "row": pa.array(rows.astype(np.int64))}


def _group(rows: np.ndarray, *, labelled: bool) -> pa.Table:
    table = pa.table(
        _named(rows)
        | {
            "length": pa.array(lengths_of(rows)),
            "input_ids": pa.array([tokens_of(row) for row in rows], pa.list_(pa.int32())),
            "token_type_ids": pa.array([[0] * length for length in lengths_of(rows)], pa.list_(pa.uint8())),
            "label": pa.array((rows % 2).astype(np.int32)),
        }
    )
    return table if labelled else table.drop_columns("label")


def _rows(groups: Sequence[int]) -> list[np.ndarray]:
    return np.split(np.arange(sum(groups)), np.cumsum(groups)[:-1])


def write_set(folder: Path, groups: Sequence[int] = GROUPS, *, labelled: bool = True) -> TokenisedSet:
    """A prepared set of these row groups, in two parts."""
    tables = [_group(rows, labelled=labelled) for rows in _rows(groups)]
    half = len(tables) // 2
    prepared = TokenisedSet(
        path=str(folder),
        fingerprint="tokens",
        rows_fingerprint="rows",
        labels=("0", "1"),
        pad_token_id=0,
        has_token_types=True,
        max_length=MAX_LENGTH,
        sources=(),
        read=sum(groups),
        rejected=0,
        filtered=0,
        parts=tuple(write_part(str(folder), i, part) for i, part in enumerate((tables[:half], tables[half:])) if part),
    )
    prepared.save()
    return prepared


def write_side(folder: Path, prepared: TokenisedSet, *, shift: int = 0) -> SideTable:
    """A side table with the column logits; with a `shift` its rows have the names of others."""
    tables = [
        pa.table(_named(rows + shift) | {"logits": logits_array(logits_of(rows))})
        for rows in _rows(prepared.group_rows.tolist())
    ]
    return commit(str(folder), prepared, [write_part(str(folder), 0, tables)], ["logits"], {})
