"""Rows and models of the GPU benchmark: random tokens of the lengths of real texts, models from a configuration."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from raykd.data.padding import TENSOR_CORE_MULTIPLE, PaddingRule
from raykd.data.step_stream import StepRows
from raykd.models import ModelShape, build_classifier

LABELS = ("0", "1")
QUANTILES = (0, 5, 10, 20, 30, 40, 50, 60, 70, 80, 90, 95, 100)
LENGTHS = {
    "sst2": (3, 4, 4, 6, 7, 8, 10, 12, 16, 20, 27, 33, 66),
    "amazon": (12, 30, 38, 56, 74, 93, 112, 136, 171, 227, 343, 493, 512),
}
"""Tokens of a text with BERT's uncased vocabulary at these quantiles: SST-2's training rows, and test reviews of four Amazon
domains (cut at 512)."""
WINDOW = 64
"""Batches that are sorted by length together, as in raykd's plan of batches."""


@dataclass(frozen=True)
class Shape:
    """Size of an encoder."""

    layers: int
    hidden: int
    heads: int
    vocabulary: int = 30_522
    positions: int = 512

    def build(self, *, dropout: float = 0.1) -> Any:
        """A new BERT classifier of this shape, always with the same weights."""
        shape = ModelShape(
            vocab_size=self.vocabulary,
            hidden=self.hidden,
            layers=self.layers,
            heads=self.heads,
            positions=self.positions,
            dropout=dropout,
        )
        return build_classifier(shape, labels=LABELS, seed=1)

    def training_flops(self, lengths: "np.ndarray[Any, Any]") -> float:
        """Floating-point operations of forward and backward of rows of these lengths, padding excluded.

        Forward: ``2 * weights * tokens + 4 * layers * hidden * tokens^2``, weights without embeddings; Kaplan et al. 2020,
        arXiv:2001.08361 table 1, attention over whole rows. Backward costs twice the forward.
        """
        weights = 12 * self.layers * self.hidden**2
        tokens = lengths.astype(np.float64)
        return float(3 * (2 * weights * tokens + 4 * self.layers * self.hidden * tokens**2).sum())


SHAPES = {"bert-base": Shape(12, 768, 12), "minilm-l6": Shape(6, 384, 12)}
TINY = {"tiny": Shape(2, 32, 2, vocabulary=120, positions=64)}


def draw_lengths(name: str, count: int, *, limit: int) -> "np.ndarray[Any, Any]":
    """Lengths of ``count`` rows, cut at ``limit`` tokens; the same ones every time."""
    at = np.random.default_rng(0).uniform(0, 100, count)
    return np.minimum(np.interp(at, QUANTILES, LENGTHS[name]).astype(np.int32), limit)


def steps(
    lengths: "np.ndarray[Any, Any]", *, batch: int, vocabulary: int, padded_to: int | None = None, limit: int
) -> Iterator[StepRows]:
    """One step for each ``batch`` rows, sorted by length in windows, or all rows padded to one length."""
    draw, rule = np.random.default_rng(1), PaddingRule(limit, TENSOR_CORE_MULTIPLE)
    count = len(lengths) // batch
    for first in range(0, count, WINDOW):
        window = lengths[first * batch : (first + WINDOW) * batch]
        ordered = window if padded_to else np.sort(window)
        order = draw.permutation(len(ordered) // batch)
        for position, index in enumerate(order):
            rows = ordered[index * batch : (index + 1) * batch]
            step = first + position
            yield _step(step, rows, draw, vocabulary, padded_to or rule.length(int(rows.max())))


def _step(step: int, lengths: Any, draw: np.random.Generator, vocabulary: int, padded: int) -> StepRows:
    rows = len(lengths)
    tokens = draw.integers(5, vocabulary, int(lengths.sum()), dtype=np.int32)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    logits = draw.normal(size=(rows, len(LABELS))).astype(np.float32)
    table = pa.table(
        {
            "shard": pa.array(np.zeros(rows, np.int32)),
            "row": pa.array(np.arange(rows, dtype=np.int64) + step * rows),
            "length": pa.array(lengths),
            "input_ids": pa.ListArray.from_arrays(pa.array(ends), pa.array(tokens)),
            "label": pa.array(draw.integers(0, len(LABELS), rows, dtype=np.int32)),
            "logits": pa.FixedSizeListArray.from_arrays(pa.array(logits.reshape(-1)), len(LABELS)),
        }
    )
    return StepRows(step=step, epoch=0, num_rows=rows, longest=padded, table=table)


def rows_for(seconds: float, *, rows_per_second: float, batch: int) -> int:
    """Rows that take about ``seconds``, in whole batches; at least eight of them."""
    return batch * max(8, math.ceil(seconds * rows_per_second / batch))
