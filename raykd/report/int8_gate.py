"""The gate of an 8-bit export: compared with the float file on labelled rows, refused when it may be worse."""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.data.length_batches import length_batches
from raykd.data.padding import EXACT
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import Int8RefusedError
from raykd.metrics.metric import Metric
from raykd.models.onnx import open_session, quantize, run_session
from raykd.report.bootstrap import Verdict
from raykd.report.load_tables import load_labels
from raykd.report.verdicts import judge
from raykd.task_kinds import TaskKind

log = logging.getLogger(__name__)

BATCH_ROWS = 32
CALIBRATION_BATCHES = 8
"""Batches of training rows that the ranges of activations are taken from."""


@dataclass(frozen=True)
class Int8Gate:
    """Rows and tolerance by which 8-bit files are accepted."""

    rows: TokenisedSet
    """Labelled rows that selected no weights of the 8-bit file: the validation set."""
    calibration: TokenisedSet
    """Rows that static quantisation takes the ranges of activations from: the training set."""
    kind: TaskKind
    tolerance: float
    """Points of the headline metric that the lower end of the 95% interval may lie below the float file's."""
    positive_label: str | None = None

    def write(self, file: str, out: str) -> Verdict:
        """Write the first 8-bit form of ``file`` that is accepted: per-channel weights, then static activations.

        Raises Int8RefusedError when none is.
        """
        reference = onnx_logits(file, self.rows)
        refusals = []
        for form in ("per-channel weights", "static activations"):
            quantize(file, out, calibration=self._calibration() if form == "static activations" else None)
            verdict = self.judge(onnx_logits(out, self.rows), reference)
            if verdict.low >= -self.tolerance / 100:
                return verdict
            refusals.append(f"{form}: {difference_text(verdict, self.kind.headline)}")
        raise Int8RefusedError(
            f"the int8 file is not published: on {self.rows.num_rows:,} validation rows its {self.kind.headline.title} may be "
            f"more than {self.tolerance:g} points below the float file's ({'; '.join(refusals)}); use the float file, give "
            "more validation rows, or raise --tolerance"
        )

    def judge(self, candidate: NDArray[Any], reference: NDArray[Any]) -> Verdict:
        """Paired bootstrap of the headline metric over the rows, 8-bit minus float."""
        metrics = self.kind.resampled(self.rows.labels or (), positive_label=self.positive_label)
        return judge(load_labels(self.rows.path), [candidate], [reference], metrics[self.kind.headline.name])

    def _calibration(self) -> Iterator[dict[str, NDArray[Any]]]:
        for number, (_, batch) in enumerate(_batches(self.calibration)):
            if number == CALIBRATION_BATCHES:
                return
            yield batch


def difference_text(verdict: Verdict, metric: Metric) -> str:
    """The difference of the headline metric, 8-bit minus float, with its interval."""
    difference, low, high = map(metric.difference, (verdict.difference, verdict.low, verdict.high))
    return f"{difference}{' points' if metric.percent else ''}, 95% interval {low} to {high}"


def onnx_logits(file: str, rows: TokenisedSet) -> NDArray[np.float32]:
    """Logits ``[N, C]`` of an ONNX file on prepared rows, in row order."""
    session = open_session(file)
    found: dict[int, NDArray[np.float32]] = {}
    for places, batch in _batches(rows):
        found |= dict(zip(places, run_session(session, batch), strict=True))
    return np.stack([found[place] for place in range(rows.num_rows)])


def _batches(rows: TokenisedSet) -> Iterator[tuple[list[int], dict[str, NDArray[Any]]]]:
    """Row numbers and model inputs of each batch, sorted by length within a row group."""
    start = 0
    for group, size in enumerate(rows.group_rows):
        order, batches = length_batches(
            rows, group, batch_rows=BATCH_ROWS, with_token_types=rows.has_token_types, padding=EXACT
        )
        done = 0
        for batch in batches:
            count = len(batch.input_ids)
            inputs = {"input_ids": batch.input_ids.numpy(), "attention_mask": batch.attention_mask.numpy()}
            if batch.token_type_ids is not None:
                inputs["token_type_ids"] = batch.token_type_ids.numpy()
            yield [start + int(place) for place in order[done : done + count]], inputs
            done += count
        start += size
