"""Single-label classification: a row has one of several classes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from raykd.data.label_codec import label_id
from raykd.metrics import single_label_metrics
from raykd.metrics.calibration import Reliability, mean_entropy
from raykd.metrics.class_counts import f1_of, macro_f1
from raykd.metrics.metric import CALIBRATION_METRICS, Metric
from raykd.metrics.resampling import ClassCountMetric, Resampled, RowMean
from raykd.metrics.temperature import fit_temperature
from raykd.task_kinds.task_kind import Array, TaskKind

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ClassCodec:
    """Stores the id of the cell's class, int32."""

    names: tuple[str, ...]

    @property
    def identity(self) -> dict[str, Any]:
        """Empty: the names alone identify the codec."""
        return {}

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {text: index for index, text in enumerate(self.names)}

    def parse(self, cell: str) -> int:
        """The id. Raises DataError for an unknown class."""
        return label_id(self._ids, cell)

    def column(self, values: Sequence[int]) -> pa.Array:
        """``[N]`` int32."""
        return pa.array(values, pa.int32())


@dataclass(frozen=True)
class SingleLabel(TaskKind):
    """Cross entropy, KL distillation, accuracy."""

    class_weights: tuple[float, ...] = ()
    """Factor of each class in the hard loss; empty leaves the loss as it is."""

    name = "single_label"
    problem_type = "single_label_classification"
    hard_term = "ce"
    soft_term = "kd_kl"
    metrics = (
        Metric("accuracy", "accuracy"),
        Metric("f1", "F1"),
        Metric("macro_f1", "macro F1"),
        Metric("micro_f1", "micro F1", plotted=False),
        Metric("mcc", "MCC", percent=False),
        Metric("auc", "AUC"),
        Metric("agreement", "agreement with the teacher", short="agrees"),
        Metric("loss", "negative log likelihood", percent=False, short="NLL"),
        Metric("ece", "expected calibration error", percent=False, short="ECE"),
        *CALIBRATION_METRICS,
    )

    agreement_text = "rows for which a student predicts the teacher's label"

    def label_codec(self, labels: Sequence[str]) -> ClassCodec:
        """One class a cell."""
        return ClassCodec(tuple(labels))

    def hard_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """Cross entropy, times the weight of the row's class: logits ``[B, C]``, labels int64 ``[B]``."""
        from raykd.losses import cross_entropy

        loss = cross_entropy(logits, labels)
        return loss * loss.new_tensor(self.class_weights)[labels] if self.class_weights else loss

    def with_class_weights(self, weights: Sequence[float]) -> "SingleLabel":
        """Return the same with these weights, one for each class in the order of the ids."""
        return replace(self, class_weights=tuple(weights))

    def soft_loss(self, student: "Tensor", teacher: "Tensor", *, temperature: float) -> "Tensor":
        """KL divergence from the teacher's softened distribution, times T²."""
        from raykd.losses import soft_target_kl

        return soft_target_kl(student, teacher, temperature=temperature)

    def pseudo_loss(self, student: "Tensor", teacher: "Tensor", *, min_confidence: float) -> "Tensor":
        """Cross entropy with the class that the teacher decides for."""
        from raykd.losses import pseudo_label_ce

        return pseudo_label_ce(student, teacher, min_confidence=min_confidence)

    def metric_names(self, num_outputs: int) -> tuple[str, ...]:
        """F1 of the positive class is there for two classes only."""
        of_two = ("f1",) if num_outputs == 2 else ()
        return ("accuracy", *of_two, "macro_f1", "micro_f1", "mcc", "auc", "loss", "ece")

    def measure(
        self, labels: Array, logits: Array, names: Sequence[str], *, positive_label: str | None = None
    ) -> dict[str, float]:
        """See :func:`~raykd.metrics.single_label_metrics.classification_metrics`."""
        return single_label_metrics.classification_metrics(labels, logits, names, positive_label=positive_label)

    def agreement(self, logits: Array, other: Array) -> float:
        """Fraction of rows with the same class."""
        return single_label_metrics.agreement(logits, other)

    def table_metrics(self, num_outputs: int) -> tuple[str, ...]:
        """Accuracy, one F1, loss and calibration."""
        return ("accuracy", "f1" if num_outputs == 2 else "macro_f1", "loss", "ece")

    def resampled(self, names: Sequence[str], *, positive_label: str | None = None) -> Mapping[str, Resampled]:
        """Accuracy and the F1 of the table."""
        f1 = f1_of(single_label_metrics.positive_index(names, positive_label)) if len(names) == 2 else macro_f1
        return {"accuracy": RowMean(_correct), self.table_metrics(len(names))[1]: ClassCountMetric(f1)}

    def constant_score(self, labels: Array) -> float:
        """Share of the largest class."""
        return float(np.bincount(labels).max() / len(labels))

    def constant_text(self, score: float) -> str:
        """The share in percent."""
        return f"the commonest answer is right on {score:.1%}"

    def standard_error(self, headline: float, rows: int) -> float:
        """That of a binomial fraction."""
        return float(np.sqrt(headline * (1 - headline) / rows))

    def class_metrics(self, labels: Array, logits: Array, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """One against the rest."""
        return single_label_metrics.class_metrics(labels, logits, names)

    def reliability(self, labels: Array, logits: Array) -> Reliability:
        """Confidence in the most probable class against accuracy."""
        return single_label_metrics.reliability(labels, logits)

    def temperature(self, labels: Array, logits: Array) -> float:
        """Fitted on cross entropy."""
        return fit_temperature(lambda t: float(single_label_metrics.row_losses(labels, logits / t).mean()))

    def confidence(self, logits: Array) -> NDArray[np.float64]:
        """Probability of the most probable class."""
        return np.asarray(self.probabilities(logits).max(axis=1))

    def entropy(self, logits: Array) -> float:
        """Mean over rows, as a fraction of log C."""
        return mean_entropy(self.probabilities(logits))

    def probabilities(self, logits: Array) -> NDArray[np.float64]:
        """Softmax over the classes."""
        return single_label_metrics.softmax(logits)

    def answer(self, logits: Array, names: Sequence[str]) -> str:
        """The most probable class."""
        return names[int(logits.argmax())]

    def describe_labels(self, names: Sequence[str]) -> str:
        """List of the classes."""
        return f"One of these labels a row: {', '.join(f'`{name}`' for name in names)}."


def _correct(labels: Array, logits: Array) -> NDArray[np.bool_]:
    return np.asarray(logits.argmax(axis=1) == labels)
