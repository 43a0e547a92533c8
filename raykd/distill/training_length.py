"""Equal lengths of the trainings of several students, so that a gain is not just longer training."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from raykd.config import StudentVariant, TrainingConfig

Unit = Literal["steps", "epochs"]


@dataclass(frozen=True)
class TrainingLength:
    """The length of one variant's trainings."""

    training: TrainingConfig
    """Training on the objective, as long as the match asks for."""
    steps: int
    """Optimiser steps of all its trainings."""
    matched: bool
    """False for a variant that sets its own length."""


def match_lengths(variants: Sequence[StudentVariant], num_rows: Mapping[str, int], *, unit: Unit) -> dict[str, TrainingLength]:
    """Lengths by variant: as many steps (or epochs) as the longest, for all that do not set a length of their own.

    ``num_rows`` are the training rows of each variant. The longest and not the baseline's: with few labelled rows the
    baseline's steps would not show the other rows to a student even once. The last training of a variant is prolonged; its
    intermediate-layer distillation keeps its length.
    """
    matched = [one for one in variants if not one.own_length]
    steps = max((_steps(one, num_rows[one.name]) for one in matched), default=0)
    epochs = max((_epochs(one) for one in matched), default=0)
    longest = max(matched, key=lambda one: _steps(one, num_rows[one.name]), default=None)
    lengths = {}
    for one in variants:
        rows, training = num_rows[one.name], one.student.training
        if not one.own_length and longest is not None:
            if unit == "epochs":
                training = training.model_copy(update={"epochs": epochs - intermediate_epochs(one)})
            else:
                every = _evaluation_interval(longest, num_rows[longest.name])
                training = _of_steps(training, steps - intermediate_steps(one, rows), rows, evaluate_every=every)
        total = intermediate_steps(one, rows) + training.num_steps(rows)
        lengths[one.name] = TrainingLength(training, total, not one.own_length and len(matched) > 1)
    return lengths


def intermediate_steps(variant: StudentVariant, num_rows: int) -> int:
    """Optimiser steps of the intermediate-layer distillation that precedes the objective; 0 without one."""
    section = variant.student.intermediate
    return section.own_training.num_steps(num_rows) if section is not None and variant.has_intermediate_task else 0


def intermediate_epochs(variant: StudentVariant) -> int:
    """Epochs of the intermediate-layer distillation that precedes the objective; 0 without one."""
    section = variant.student.intermediate
    return section.own_training.epochs if section is not None and variant.has_intermediate_task else 0


def _steps(variant: StudentVariant, num_rows: int) -> int:
    return intermediate_steps(variant, num_rows) + variant.student.training.num_steps(num_rows)


def _epochs(variant: StudentVariant) -> int:
    return intermediate_epochs(variant) + variant.student.training.epochs


def _evaluation_interval(variant: StudentVariant, num_rows: int) -> int:
    """Steps between the evaluations of a variant."""
    training = variant.student.training
    return training.evaluate_every or math.ceil(num_rows / training.batch_size)


def _of_steps(training: TrainingConfig, steps: int, num_rows: int, *, evaluate_every: int) -> TrainingConfig:
    """The training with so many steps; unchanged when it has them.

    A training whose epochs are shorter than the longest's evaluates as rarely as that, since more evaluations select better.
    """
    if training.num_steps(num_rows) == steps:
        return training
    epoch = math.ceil(num_rows / training.batch_size)
    changes: dict[str, int | None] = {"epochs": math.ceil(steps / epoch)}
    changes["max_steps"] = None if steps % epoch == 0 else steps
    if training.evaluate_every is None and epoch != evaluate_every:
        changes["evaluate_every"] = evaluate_every
    return training.model_copy(update=changes)
