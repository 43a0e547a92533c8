"""Answers in the format of Hugging Face's inference API."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raykd.errors import list_values
from raykd.serve.served_model import ModelDescription

LabelScores = list[dict[str, Any]]
"""Labels of one row, best first: ``label`` and ``score``; ``logit``, ``answered_by`` and ``truncated`` where they apply."""


def format_answers(
    description: ModelDescription,
    logits: NDArray[np.float32],
    *,
    truncated: Sequence[bool],
    top_k: int | None,
    return_logits: bool,
    answered_by: str | None,
) -> list[LabelScores]:
    """The answers of rows with logits ``[N, C]``; ``answered_by`` is in each entry unless None."""
    scores = description.probabilities(logits)
    orders = np.argsort(-scores, axis=1, kind="stable")[:, :top_k].tolist()
    source = {} if answered_by is None else {"answered_by": answered_by}
    answers = []
    for row, order, values, cut in zip(logits, orders, scores.tolist(), truncated, strict=True):
        extra: dict[str, Any] = {**source, "truncated": True} if cut else source
        answers.append(
            [
                {
                    "label": description.labels[index],
                    "score": values[index],
                    **({"logit": float(row[index])} if return_logits else {}),
                    **extra,
                }
                for index in order
            ]
        )
    return answers


def check_labels(student: ModelDescription, teacher: ModelDescription) -> str | None:
    """A sentence on how the outputs of two models differ; None where they mean the same in the same order."""
    if student.task != teacher.task:
        return f"the student's task is {student.task}, the teacher's {teacher.task}"
    if student.labels != teacher.labels:
        return f"the student's labels are {list_values(student.labels)}, the teacher's {list_values(teacher.labels)}"
    return None
