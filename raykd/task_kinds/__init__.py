"""Kinds of tasks: what a row's label is, and how models are trained, measured and shown on such labels."""

from typing import Any

from raykd.config import DataConfig
from raykd.data.label_codec import LabelCodec
from raykd.data.prepare import read_labels
from raykd.task_kinds.multi_label import MultiLabel
from raykd.task_kinds.regression import Regression
from raykd.task_kinds.single_label import SingleLabel
from raykd.task_kinds.task_kind import TaskKind

__all__ = ["SINGLE_LABEL", "TASK_KINDS", "TaskKind", "label_codec", "task_kind", "task_kind_of_model"]

SINGLE_LABEL: TaskKind = SingleLabel()
TASK_KINDS: dict[str, TaskKind] = {kind.name: kind for kind in (SINGLE_LABEL, MultiLabel(), Regression())}
"""All kinds by their name, the value of `data.task`."""


def task_kind(name: str) -> TaskKind:
    """The kind of a name that the configuration has checked."""
    return TASK_KINDS[name]


def task_kind_of_model(config: Any) -> TaskKind:
    """The kind that a transformers configuration names; single-label where it names none."""
    problem_type = getattr(config, "problem_type", None)
    return next((kind for kind in TASK_KINDS.values() if kind.problem_type == problem_type), SINGLE_LABEL)


def label_codec(data: DataConfig) -> LabelCodec:
    """The reader of the rows' labels. Raises ConfigError for a label file that cannot be used."""
    return task_kind(data.task).label_codec(read_labels(data.labels))
