"""Objectives that learn from labels alone: teachers, and students without distillation."""

from dataclasses import dataclass

from torch import nn

from raykd.data.batch import Batch
from raykd.losses import bce, cross_entropy
from raykd.trainers.objective import Objective, ObjectiveOutput, valid_labels, valid_logits, valid_output


@dataclass(frozen=True)
class FineTune(Objective):
    """Cross entropy with the label. Term: ``ce``."""

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """Labels int64 ``[B]``."""
        return valid_output({"ce": cross_entropy(valid_logits(model, batch), valid_labels(batch))}, batch.valid)


@dataclass(frozen=True)
class MultiLabelFineTune(Objective):
    """Binary cross entropy with each of several labels, the mean over labels. Term: ``bce``."""

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """Labels ``[B, C]`` of 0 and 1."""
        return valid_output({"bce": bce(valid_logits(model, batch), valid_labels(batch))}, batch.valid)
