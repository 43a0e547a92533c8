"""One kind of task: everything in which single-label, multi-label and regression tasks differ."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from raykd.config.data import TASKS, TaskTraits
from raykd.data.label_codec import LabelCodec
from raykd.errors import ConfigError
from raykd.metrics.calibration import Reliability
from raykd.metrics.metric import Metric
from raykd.metrics.resampling import Resampled

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[Any]


class TaskKind(ABC):
    """Subclass, and add one instance to :data:`raykd.task_kinds.TASK_KINDS`. Instances hold no state.

    Labels are the values of a prepared set's column: ``[N]`` or ``[N, C]``. Logits are the model's outputs ``[N, C]``, whatever
    they mean.
    """

    name: str
    """Value of `data.task`."""
    problem_type: str
    """Name of the task in a transformers configuration."""
    hard_term: str
    """Name of the hard loss in logs."""
    soft_term: str = ""
    """Name of the distillation loss on softened outputs in logs."""
    metrics: tuple[Metric, ...]
    """All metrics that evaluations and reports have, the most important first, `agreement` with the teacher among them."""
    agreement_text: str
    """Meaning of `agreement` in a legend."""

    # Configuration and data

    @property
    def traits(self) -> TaskTraits:
        """Properties that the configuration needs: the headline metric, and which metrics are better when smaller."""
        return TASKS[self.name]

    @property
    def headline(self) -> Metric:
        """Metric of verdicts, and of model selection by default."""
        return self.metric(self.traits.headline)

    def metric(self, name: str) -> Metric:
        """The description of a metric."""
        return next(one for one in self.metrics if one.name == name)

    def smaller_is_better(self, metric: str) -> bool:
        """Direction of a metric."""
        return metric in self.traits.smaller_is_better

    @abstractmethod
    def label_codec(self, labels: Sequence[str]) -> LabelCodec:
        """Reader of labels; ``labels`` are those of the configuration, in the order of their ids."""

    # Training

    @abstractmethod
    def hard_loss(self, logits: "Tensor", labels: "Tensor") -> "Tensor":
        """Loss of each row against its label, fp32 ``[B]``."""

    def soft_loss(self, student: "Tensor", teacher: "Tensor", *, temperature: float) -> "Tensor":
        """Loss of each row against the teacher's softened outputs, fp32 ``[B]``. Only where they can be softened."""
        raise NotImplementedError(f"{self.name} has no softened outputs")

    def with_class_weights(self, weights: Sequence[float]) -> "TaskKind":
        """Return the kind with a hard loss that multiplies each row by the weight of its class; for one class a row only."""
        raise NotImplementedError(f"{self.name} has no classes to weigh ({len(weights)} weights given)")

    def pseudo_loss(self, student: "Tensor", teacher: "Tensor", *, min_confidence: float) -> "Tensor":
        """Loss of each row against the teacher's decision, fp32 ``[B]``. Only for classes and labels."""
        raise NotImplementedError(f"{self.name} has no decisions")

    # Evaluation

    @abstractmethod
    def metric_names(self, num_outputs: int) -> tuple[str, ...]:
        """Names of the metrics that an evaluation has, in its order."""

    def check_metric(self, path: str, metric: str | None, num_outputs: int) -> None:
        """Raise ConfigError when evaluations do not have the ``metric`` that the setting at ``path`` names."""
        names = self.metric_names(num_outputs)
        if metric is not None and metric not in names:
            raise ConfigError(f"{path} = {metric!r}: evaluations have {', '.join(names)}")

    @abstractmethod
    def measure(
        self, labels: Array, logits: Array, names: Sequence[str], *, positive_label: str | None = None
    ) -> dict[str, float]:
        """Metrics of one model by name. ``names`` are those of the outputs. Raises DataError when arrays do not fit."""

    @abstractmethod
    def agreement(self, logits: Array, other: Array) -> float:
        """Similarity of two models' answers on the same rows, at most 1."""

    # Reports

    @abstractmethod
    def table_metrics(self, num_outputs: int) -> tuple[str, ...]:
        """Metrics in the columns of the comparison, the headline metric first."""

    @abstractmethod
    def resampled(self, names: Sequence[str], *, positive_label: str | None = None) -> Mapping[str, Resampled]:
        """Metrics with a verdict, the headline metric first."""

    @abstractmethod
    def constant_score(self, labels: Array) -> float:
        """Metric of the model that gives every row the same best answer."""

    @abstractmethod
    def constant_text(self, score: float) -> str:
        """Clause that states :meth:`constant_score`."""

    @abstractmethod
    def standard_error(self, headline: float, rows: int) -> float:
        """Standard error of the headline metric on so many rows."""

    def class_metrics(self, labels: Array, logits: Array, names: Sequence[str]) -> dict[str, dict[str, float]]:
        """Precision, recall, f1 and rows of each class by its name; empty where there are no classes."""
        del labels, logits, names
        return {}

    def reliability(self, labels: Array, logits: Array) -> Reliability | None:
        """Confidence bins; None where outputs are no probabilities."""
        del labels, logits
        return None

    def temperature(self, labels: Array, logits: Array) -> float | None:
        """Divisor of the logits with the smallest negative log likelihood; None where outputs are no probabilities."""
        del labels, logits
        return None

    def confidence(self, logits: Array) -> NDArray[np.float64] | None:
        """Probability of each row's answer, ``[N]``; None where outputs are no probabilities."""
        del logits
        return None

    def entropy(self, logits: Array) -> float | None:
        """Mean entropy of the predictions as a fraction of the largest possible; None where outputs are no probabilities."""
        del logits
        return None

    # Predictions

    @abstractmethod
    def probabilities(self, logits: Array) -> NDArray[np.float64]:
        """Outputs as a user reads them, ``[N, C]``: probabilities, or numbers as they are."""

    @abstractmethod
    def answer(self, logits: Array, names: Sequence[str]) -> str:
        """The prediction for one row ``[C]`` as the text of a label's cell."""

    @abstractmethod
    def describe_labels(self, names: Sequence[str]) -> str:
        """Sentence of the model card about the outputs."""

    pipeline_arguments: str = ""
    """Arguments of a transformers pipeline that returns all of a row's answer, with a comma before."""
