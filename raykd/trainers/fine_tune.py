"""Objective that learns from labels alone: teachers, and students without distillation."""

from dataclasses import dataclass

from torch import nn

from raykd.data.batch import Batch
from raykd.task_kinds import SINGLE_LABEL, TaskKind
from raykd.trainers.objective import Objective, ObjectiveOutput, valid_labels, valid_logits, valid_output


@dataclass(frozen=True)
class FineTune(Objective):
    """The hard loss of the task, which names the term: ``ce``, ``bce`` or ``mse``."""

    kind: TaskKind = SINGLE_LABEL

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """Labels as the task stores them."""
        loss = self.kind.hard_loss(valid_logits(model, batch), valid_labels(batch))
        return valid_output({self.kind.hard_term: loss}, batch.valid)
