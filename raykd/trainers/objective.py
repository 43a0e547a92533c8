"""Objectives: the one part in which teacher, meta-teacher and student training differ."""

import functools
import operator
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol, Self

from torch import Tensor, nn

from raykd.data.batch import Batch
from raykd.data.tokenised_set import LABELLED
from raykd.errors import DataError
from raykd.losses import keep


@dataclass(frozen=True)
class ObjectiveOutput:
    """Loss terms of one forward pass, row by row."""

    terms: dict[str, Tensor]
    """Fp32 ``[B]`` by the term's name in logs, weights included; 0, with the graph, where a row is not valid."""

    @property
    def per_row(self) -> Tensor:
        """Sum of the terms, ``[B]``: which the trainer adds up over rows and divides, once, by the global number of rows."""
        return functools.reduce(operator.add, self.terms.values())


class Objective(Protocol):
    """Maps a model and a batch to one number per row and term. Subclass it to inherit the defaults.

    An objective is a value: a call changes nothing in it; settings that change over training are a function of the progress. A
    row's terms depend on that row alone, not on padding or neighbours; one that cannot promise this refuses in `check`.
    """

    @property
    def side_columns(self) -> tuple[str, ...]:
        """Columns that the objective reads besides tokens and labels, from side tables or the rows; empty by default.

        A batch has these and no others. The trainer refuses to start where one is missing.
        """
        return ()

    @property
    def needs_labels(self) -> bool:
        """True, the default, when the objective reads labels: the trainer refuses to start on rows without them."""
        return True

    @property
    def takes_unlabelled(self) -> bool:
        """True when a batch may have rows without a label among others (`Batch.labelled`); by default where none is read."""
        return not self.needs_labels

    @property
    def trainable(self) -> Mapping[str, nn.Module]:
        """Auxiliary modules trained with the model, by the name that their weights are stored under; empty by default."""
        return {}

    @property
    def frozen(self) -> nn.Module | None:
        """Frozen teacher that the objective calls; its forward passes are counted. None by default."""
        return None

    def check(self, *, num_labels: int, whole_batch: bool) -> None:
        """Raise ConfigError when the task cannot be trained this way; called once, before the first step.

        `whole_batch`: every global batch goes through a single forward pass (one worker, no accumulation).
        """
        del num_labels, whole_batch  # by default every task can

    def at(self, progress: float) -> Self:  # noqa: ARG002
        """Return the objective at a fraction of the steps, 0 at the first and 1 at the last; itself by default."""
        return self

    def __call__(self, model: nn.Module, batch: Batch) -> ObjectiveOutput:
        """Run the model on the batch. Raises DataError when the batch lacks what the objective reads."""
        ...


def check_columns(objective: Objective, columns: Collection[str]) -> None:
    """Raise DataError when ``columns``, those of the training rows and their side tables, lack what the objective reads."""
    if missing := [name for name in objective.side_columns if name not in columns]:
        raise DataError(
            f"the objective reads {', '.join(missing)}, but no side table of the training rows has it; "
            f"their columns are {', '.join(sorted(columns))}"
        )
    if objective.needs_labels and "label" not in columns:
        raise DataError("the objective needs labels, but the rows have none; name the label column, or use alpha = 1")
    if LABELLED in columns and not objective.takes_unlabelled:
        raise DataError("the objective needs the label of every row, but some rows have none; train it on labelled rows alone")


def valid_logits(model: nn.Module, batch: Batch) -> Tensor:
    """The model's logits, ``[B, C]``; 0 and without gradient where a row is not valid."""
    logits: Tensor = model(**batch.model_inputs()).logits
    return keep(logits, batch.valid)


def valid_labels(batch: Batch) -> Tensor:
    """The batch's labels, ``[B]`` ids or ``[B, C]`` of 0 and 1; 0 where a row is not valid. Raises DataError without any."""
    if batch.labels is None:
        raise DataError("the objective needs labels, but the rows have none; name the label column, or use alpha = 1")
    return keep(batch.labels, batch.valid)


def valid_teacher_logits(batch: Batch) -> Tensor:
    """The teacher's logits, ``[B, C]``; 0 where a row is not valid. Raises DataError without the side column."""
    if batch.teacher_logits is None:
        raise DataError("the objective distils, but the rows come without teacher logits; join the side table `logits`")
    return keep(batch.teacher_logits, batch.valid)


def valid_output(terms: Mapping[str, Tensor], valid: Tensor) -> ObjectiveOutput:
    """Terms ``[B]`` as an output, 0 where a row is not valid."""
    return ObjectiveOutput({name: keep(term, valid) for name, term in terms.items()})
