"""Kinds of tasks: what a row's label is, and how models are trained, measured and shown on such labels."""

from typing import Any

from raykd.config import DataConfig
from raykd.data.label_codec import LabelCodec
from raykd.data.label_names import read_labels
from raykd.task_kinds.multi_label import MultiLabel
from raykd.task_kinds.regression import Regression
from raykd.task_kinds.single_label import SingleLabel
from raykd.task_kinds.task_kind import TaskKind

__all__ = [
    "MULTI_LABEL",
    "SINGLE_LABEL",
    "TASK_KINDS",
    "TaskKind",
    "label_codec",
    "task_kind",
    "task_kind_of_model",
    "write_task_kind",
]

SINGLE_LABEL: TaskKind = SingleLabel()
MULTI_LABEL: TaskKind = MultiLabel()
TASK_KINDS: dict[str, TaskKind] = {kind.name: kind for kind in (SINGLE_LABEL, MULTI_LABEL, Regression())}
"""All kinds by their name, the value of `data.task`."""
TASK_KEY = "raykd_task"
"""Key in a model's config.json that names its kind."""


def task_kind(name: str) -> TaskKind:
    """The kind of a name that the configuration has checked."""
    return TASK_KINDS[name]


def task_kind_of_model(config: Any) -> TaskKind:
    """The kind that a transformers configuration names, else the first one of its problem type, else single-label.

    A name is ignored where the problem type is another one: the model has been trained outside raykd since.
    """
    problem_type = getattr(config, "problem_type", None)
    named = TASK_KINDS.get(getattr(config, TASK_KEY, None) or "")
    if named is not None and named.problem_type == problem_type:
        return named
    return next((kind for kind in TASK_KINDS.values() if kind.problem_type == problem_type), SINGLE_LABEL)


def write_task_kind(config: Any, kind: TaskKind) -> None:
    """Name the kind in a transformers configuration, and its problem type, which several kinds may share."""
    config.problem_type = kind.problem_type
    setattr(config, TASK_KEY, kind.name)


def label_codec(data: DataConfig) -> LabelCodec:
    """The reader of the rows' labels. Raises ConfigError for a label file that cannot be used."""
    return task_kind(data.task).label_codec(read_labels(data.labels))
