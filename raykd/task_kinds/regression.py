"""Regression: a row has one number."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raykd.errors import DataError, shorten
from raykd.metrics import regression_metrics
from raykd.metrics.metric import Metric
from raykd.metrics.resampling import MomentMetric, Resampled
from raykd.task_kinds.task_kind import Array, TaskKind

if TYPE_CHECKING:
    from torch import Tensor

OUTPUT = "value"
"""Name of the model's one output."""
_LARGEST = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class NumberCodec:
    """Stores the cell's number, float32."""

    names: tuple[str, ...] = (OUTPUT,)

    @property
    def identity(self) -> dict[str, Any]:
        """Fields that distinguish this label format in the cache key."""
        return {"numbers": "float32"}

    def parse(self, cell: str) -> float:
        """The number. Raises DataError for other text, and for numbers that are not finite in float32."""
        try:
            number = float(cell) if "_" not in cell else math.nan
        except ValueError:
            number = math.nan
        if not abs(number) <= _LARGEST:
            raise DataError(f"label {shorten(cell)} is not a finite number, which data.task = regression needs")
        return number

    def column(self, values: Sequence[float]) -> pa.Array:
        """``[N]`` float32."""
        return pa.array(values, pa.float32())


class Regression(TaskKind):
    """Mean squared error, to the label and to the teacher; Pearson's correlation, as GLUE reports STS-B."""

    name = "regression"
    problem_type = "regression"
    hard_term = "mse"
    metrics = (
        Metric("pearson", "Pearson correlation", percent=False, short="Pearson"),
        Metric("spearman", "Spearman correlation", percent=False, short="Spearman"),
        Metric("rmse", "root mean squared error", percent=False, short="RMSE"),
        Metric("agreement", "correlation with the teacher", percent=False, short="agrees"),
        Metric("loss", "mean squared error", percent=False, short="MSE"),
    )
    agreement_text = "Pearson correlation with the teacher's outputs"

    def label_codec(self, labels: Sequence[str]) -> NumberCodec:
        """One number a cell; there are no label names."""
        del labels
        return NumberCodec()

    def hard_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """Squared error: outputs ``[B, 1]``, labels float ``[B]``."""
        from raykd.losses import squared_error

        return squared_error(logits, labels)

    def metric_names(self, num_outputs: int) -> tuple[str, ...]:
        """Always the same."""
        del num_outputs
        return ("pearson", "spearman", "rmse", "loss")

    def measure(
        self, labels: Array, logits: Array, names: Sequence[str], *, positive_label: str | None = None
    ) -> dict[str, float]:
        """See :func:`~raykd.metrics.regression_metrics.regression_metrics`."""
        del names, positive_label
        return regression_metrics.regression_metrics(labels, logits)

    def agreement(self, logits: Array, other: Array) -> float:
        """Pearson's correlation of the outputs."""
        return regression_metrics.correlation(logits[:, 0].astype(np.float64), other[:, 0].astype(np.float64))

    def table_metrics(self, num_outputs: int) -> tuple[str, ...]:
        """Both correlations and the error in the label's unit."""
        del num_outputs
        return ("pearson", "spearman", "rmse")

    def resampled(self, names: Sequence[str], *, positive_label: str | None = None) -> Mapping[str, Resampled]:
        """Pearson's correlation and the root mean squared error, computed again on every resample."""
        del names, positive_label
        return {
            "pearson": MomentMetric(_pearson_features, regression_metrics.pearson_of_sums),
            "rmse": MomentMetric(_error_features, lambda sums: np.sqrt(sums[..., 1] / sums[..., 0])),
        }

    def constant_score(self, labels: Array) -> float:
        """Root mean squared error of the mean: the standard deviation of the labels."""
        return float(labels.std())

    def constant_text(self, score: float) -> str:
        """The error in the label's unit."""
        return f"the mean of the labels has a root mean squared error of {score:.3f}"

    def standard_error(self, headline: float, rows: int) -> float:
        """``(1 - r²) / √(n - 1)``, of a correlation of normal variables."""
        return float((1 - headline**2) / np.sqrt(max(rows - 1, 1)))

    def probabilities(self, logits: Array) -> NDArray[np.float64]:
        """Outputs as they are."""
        return np.asarray(logits, np.float64)

    def answer(self, logits: Array, names: Sequence[str]) -> str:
        """The shortest text of the float32 number."""
        del names
        return str(np.float32(logits[0]))

    def describe_labels(self, names: Sequence[str]) -> str:
        """The output's name."""
        return f"One number a row, `{names[0]}` in the output of a pipeline."


def _pearson_features(labels: Array, logits: Array) -> NDArray[np.float64]:
    return regression_metrics.pearson_features(labels.astype(np.float64), logits[:, 0].astype(np.float64))


def _error_features(labels: Array, logits: Array) -> NDArray[np.float64]:
    squares = (logits[:, 0].astype(np.float64) - labels) ** 2
    return np.stack([np.ones_like(squares), squares], axis=1)
