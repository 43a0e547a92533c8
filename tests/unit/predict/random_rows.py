"""Tokenised sets of random tokens, and models that answer every row differently."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from raykd.data.parquet_files import write_part
from raykd.data.side_tables import SideTable, logits_numpy
from raykd.data.tokenised_set import TokenisedSet
from raykd.models import ModelShape, build_classifier

LABELS = ("bad", "good")
VOCABULARY = 40
GROUPS = ((5, 130), (3,), (70, 1))
"""Rows of the row groups of each part."""


def make_prepared(folder: Path, *, longest: int = 21, token_types: bool = True, labels=LABELS, seed: int = 0) -> TokenisedSet:
    """A prepared set of random tokens."""
    dice = np.random.default_rng(seed)
    parts, position, row = [], 0, 0
    for groups in GROUPS:
        tables = []
        for size in groups:
            lengths = dice.integers(3, longest + 1, size).astype(np.int32)
            lengths[0] = longest
            columns = {
                "shard": pa.array(np.zeros(size, np.int32)),
                "row": pa.array(np.arange(row, row + size)),
                "length": pa.array(lengths),
                "input_ids": pa.array(
                    [dice.integers(5, VOCABULARY, n).astype(np.int32) for n in lengths], pa.list_(pa.int32())
                ),
            }
            if token_types:
                types = [(np.arange(n) > n // 2).astype(np.uint8) for n in lengths]
                columns["token_type_ids"] = pa.array(types, pa.list_(pa.uint8()))
            if labels is not None:
                columns["label"] = pa.array(dice.integers(0, len(labels), size).astype(np.int32))
            tables.append(pa.table(columns))
            row += size
        parts.append(write_part(str(folder), position, tables))
        position += len(groups)
    prepared = TokenisedSet(
        path=str(folder), fingerprint=f"tokens-{seed}", rows_fingerprint=f"rows-{seed}", labels=labels, pad_token_id=0,
        has_token_types=token_types, max_length=longest, sources=(), read=row, rejected=0, filtered=0, parts=tuple(parts),
    )  # fmt: skip
    prepared.save()
    return prepared


def make_prompts(folder: Path) -> TokenisedSet:
    """A prepared set of random prompts, padded on the left."""
    prompts = replace(make_prepared(folder, token_types=False), padding_side="left")
    prompts.save()
    return prompts


def make_model(folder: Path, architecture: str = "bert", *, seed: int = 1, positions: int = 32, labels=LABELS) -> str:
    """A model folder without a tokenizer: scoring needs none."""
    shape = ModelShape(architecture=architecture, vocab_size=VOCABULARY, hidden=16, layers=2, heads=2, positions=positions)
    model = build_classifier(shape, labels=labels, seed=seed)
    for parameter in model.parameters():
        parameter.data *= 10  # so that logits differ from row to row by far more than rounding
    model.save_pretrained(folder)
    return str(folder)


def all_logits(table: SideTable) -> np.ndarray:
    return np.concatenate([logits_numpy(table.read_group(g)["logits"]) for g in range(len(table.group_rows))])
