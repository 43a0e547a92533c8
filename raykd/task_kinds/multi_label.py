"""Multi-label classification: a row has any number of labels, each a yes or no of its own."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raykd.data.label_codec import label_id
from raykd.metrics.calibration import Reliability, mean_entropy
from raykd.metrics.metric import CALIBRATION_METRICS, Metric
from raykd.metrics.multi_label_metrics import (
    decisions,
    mean_binary_loss,
    multi_label_class_metrics,
    multi_label_metrics,
    multi_label_reliability,
    sigmoid,
)
from raykd.metrics.resampling import Resampled, RowMean
from raykd.metrics.temperature import fit_temperature
from raykd.task_kinds.task_kind import Array, TaskKind

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class LabelSetCodec:
    """Stores a 0 or 1 for each label, fixed_size_list<int8>[C]."""

    names: tuple[str, ...]
    separator: str

    @property
    def identity(self) -> dict[str, Any]:
        """Fields that distinguish this label format in the cache key."""
        return {"multi_label": True}

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {text: index for index, text in enumerate(self.names)}

    def parse(self, cell: str) -> tuple[int, ...]:
        """The ids of a cell's labels; empty for an empty cell. Raises DataError for an unknown label."""
        return tuple(label_id(self._ids, text) for text in cell.split(self.separator) if text)

    def column(self, values: Sequence[tuple[int, ...]]) -> pa.Array:
        """``[N, C]`` of 0 and 1."""
        hot = np.zeros((len(values), len(self.names)), np.int8)
        for row, ids in enumerate(values):
            hot[row, list(ids)] = 1
        return pa.FixedSizeListArray.from_arrays(pa.array(hot.reshape(-1)), len(self.names))


class MultiLabel(TaskKind):
    """Binary cross entropy, Bernoulli KL distillation label by label, exact match."""

    name = "multi_label"
    problem_type = "multi_label_classification"
    hard_term = "bce"
    soft_term = "kd_bce"
    metrics = (
        Metric("exact_match", "exact match"),
        Metric("macro_f1", "macro F1"),
        Metric("micro_f1", "micro F1", plotted=False),
        Metric("macro_precision", "macro precision", plotted=False),
        Metric("macro_recall", "macro recall", plotted=False),
        Metric("auc", "AUC"),
        Metric("agreement", "agreement with the teacher", short="agrees"),
        Metric("loss", "negative log likelihood", percent=False, short="NLL"),
        Metric("ece", "expected calibration error", percent=False, short="ECE"),
        *CALIBRATION_METRICS,
    )
    agreement_text = "rows for which a student predicts the teacher's labels"
    pipeline_arguments = ", top_k=None"

    def label_codec(self, labels: Sequence[str]) -> LabelSetCodec:
        """Labels joined in one cell."""
        return LabelSetCodec(tuple(labels), self.traits.separator)

    def hard_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """Binary cross entropy, the mean over labels: logits and labels ``[B, C]``."""
        from raykd.losses import bce

        return bce(logits, labels)

    def soft_loss(self, student: "Tensor", teacher: "Tensor", *, temperature: float) -> "Tensor":
        """Bernoulli KL from the teacher's softened probabilities, the mean over labels, times T²."""
        from raykd.losses import bce_kd

        return bce_kd(student, teacher, temperature=temperature)

    def pseudo_loss(self, student: "Tensor", teacher: "Tensor", *, min_confidence: float) -> "Tensor":
        """Binary cross entropy with the teacher's decision on each label."""
        from raykd.losses import pseudo_label_bce

        return pseudo_label_bce(student, teacher, min_confidence=min_confidence)

    def metric_names(self, num_outputs: int) -> tuple[str, ...]:
        """The same for any number of labels."""
        del num_outputs
        return ("exact_match", "macro_f1", "micro_f1", "macro_precision", "macro_recall", "auc", "loss", "ece")

    def measure(
        self, labels: Array, logits: Array, names: Sequence[str], *, positive_label: str | None = None
    ) -> dict[str, float]:
        """See :func:`~raykd.metrics.multi_label_metrics.multi_label_metrics`."""
        del positive_label
        return multi_label_metrics(labels, logits, names)

    def agreement(self, logits: Array, other: Array) -> float:
        """Fraction of rows with the same set of labels."""
        return float(np.mean((decisions(logits) == decisions(other)).all(axis=1)))

    def table_metrics(self, num_outputs: int) -> tuple[str, ...]:
        """Exact match, macro F1, loss and calibration."""
        del num_outputs
        return ("exact_match", "macro_f1", "loss", "ece")

    def resampled(self, names: Sequence[str], *, positive_label: str | None = None) -> Mapping[str, Resampled]:
        """Exact match."""
        del names, positive_label
        return {"exact_match": RowMean(_correct)}

    def constant_score(self, labels: Array) -> float:
        """Share of the commonest set of labels."""
        _, counts = np.unique(labels, axis=0, return_counts=True)
        return float(counts.max() / len(labels))

    def constant_text(self, score: float) -> str:
        """The share in percent."""
        return f"the commonest answer is right on {score:.1%}"

    def standard_error(self, headline: float, rows: int) -> float:
        """That of a binomial fraction."""
        return float(np.sqrt(headline * (1 - headline) / rows))

    def class_metrics(self, labels: Array, logits: Array, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Each label by itself."""
        return multi_label_class_metrics(labels, logits, names)

    def reliability(self, labels: Array, logits: Array) -> Reliability:
        """Confidence in each yes or no against accuracy."""
        return multi_label_reliability(labels, logits)

    def temperature(self, labels: Array, logits: Array) -> float:
        """One for all labels, fitted on the binary cross entropy of each label."""
        return fit_temperature(lambda t: mean_binary_loss(labels, logits / t))

    def confidence(self, logits: Array) -> NDArray[np.float64]:
        """Probability of the whole set of labels, were they independent: the product of those of each yes or no."""
        return np.asarray(sigmoid(np.abs(logits)).prod(axis=1))

    def entropy(self, logits: Array) -> float:
        """Mean over rows and labels, as a fraction of log 2."""
        return mean_entropy(np.stack([sigmoid(logits), sigmoid(-logits)], axis=-1))

    def probabilities(self, logits: Array) -> NDArray[np.float64]:
        """Sigmoid of each label."""
        return sigmoid(logits)

    def answer(self, logits: Array, names: Sequence[str]) -> str:
        """Labels with a probability above one half, joined by the separator."""
        return self.traits.separator.join(name for name, yes in zip(names, decisions(logits), strict=True) if yes)

    def describe_labels(self, names: Sequence[str]) -> str:
        """List of the labels."""
        return f"Any number of these labels a row: {', '.join(f'`{name}`' for name in names)}."


def _correct(labels: Array, logits: Array) -> NDArray[np.bool_]:
    return np.asarray((decisions(logits) == labels).all(axis=1))
