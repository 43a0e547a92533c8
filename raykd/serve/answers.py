"""Answers in the format of Hugging Face's inference API."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.errors import list_values
from raykd.serve.served_model import ModelDescription

LabelScores = list[dict[str, Any]]
"""Labels of one row, best first: ``label`` and ``score``; ``logit``, ``answered_by`` and ``truncated`` where they apply."""


def format_answer(
    description: ModelDescription,
    logits: NDArray[np.float32],
    *,
    top_k: int | None,
    return_logits: bool,
    extra: Mapping[str, Any],
) -> LabelScores:
    """The answer of one row with logits ``[C]``; ``extra`` is in each of its entries."""
    scores = description.probabilities(logits[None])[0]
    order = np.argsort(-scores, kind="stable")[:top_k]
    return [
        {
            "label": description.labels[index],
            "score": float(scores[index]),
            **({"logit": float(logits[index])} if return_logits else {}),
            **extra,
        }
        for index in order
    ]


def check_labels(student: ModelDescription, teacher: ModelDescription) -> str | None:
    """A sentence on how the outputs of two models differ; None where they mean the same in the same order."""
    if student.task != teacher.task:
        return f"the student's task is {student.task}, the teacher's {teacher.task}"
    if student.labels != teacher.labels:
        return f"the student's labels are {list_values(student.labels)}, the teacher's {list_values(teacher.labels)}"
    return None
