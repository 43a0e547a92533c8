"""From a request to its answers: the student's logits, the teacher's where the student is unsure."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raykd.data.tokenizer import Text
from raykd.serve.answers import LabelScores, format_answer
from raykd.serve.predict_request import PredictRequest
from raykd.serve.served_model import ModelDescription, ServedModel


@dataclass(frozen=True)
class ScoredTexts:
    """A model's outputs on the texts of a request."""

    logits: NDArray[np.float32]
    """``[N, C]``."""
    truncated: tuple[bool, ...]
    """Texts that were cut."""
    batch_rows: tuple[int, ...] = ()
    """Rows of each forward pass that answered them, those of other requests included."""


ScoreTexts = Callable[[Sequence[Text]], Awaitable[ScoredTexts]]
"""Scores texts with one model."""


class OverloadedError(Exception):
    """More requests wait than the server accepts."""


@dataclass(frozen=True)
class Prediction:
    """Answers to a request, in its order, and what they took."""

    answers: list[LabelScores]
    escalated: int
    """Rows that the teacher answered."""
    batch_rows: tuple[int, ...]


@dataclass(frozen=True)
class TeacherBehind:
    """The teacher of a cascade."""

    description: ModelDescription
    score: ScoreTexts
    threshold: float
    """Calibrated confidence of the student below which the teacher answers."""


class PredictionService:
    """Answers requests with a student, and with a teacher behind it; both are reached through functions."""

    def __init__(self, student: ModelDescription, score: ScoreTexts, teacher: TeacherBehind | None = None) -> None:
        self.student = student
        self.teacher = teacher
        self._score = score

    async def predict(self, request: PredictRequest) -> Prediction:
        """LabelScores all texts of a request. Raises OverloadedError."""
        scored = await self._score(request.texts)
        unsure = self._unsure(scored.logits)
        asked = None
        if self.teacher is not None and unsure:
            asked = await self.teacher.score([request.texts[index] for index in unsure])
        from_teacher = {} if asked is None else {index: place for place, index in enumerate(unsure)}
        answers = []
        for index in range(len(request.texts)):
            description, logits, truncated = self.student, scored.logits[index], scored.truncated[index]
            extra: dict[str, object] = {"answered_by": "student"} if self.teacher is not None else {}
            if self.teacher is not None and asked is not None and index in from_teacher:
                place = from_teacher[index]
                description, logits, truncated = self.teacher.description, asked.logits[place], asked.truncated[place]
                extra = {"answered_by": "teacher"}
            if truncated:
                extra["truncated"] = True
            answers.append(
                format_answer(description, logits, top_k=request.top_k, return_logits=request.return_logits, extra=extra)
            )
        return Prediction(answers, escalated=len(from_teacher), batch_rows=scored.batch_rows)

    def _unsure(self, logits: NDArray[np.float32]) -> list[int]:
        """Rows below the threshold."""
        confidence = None if self.teacher is None else self.student.confidence(logits)
        if self.teacher is None or confidence is None:
            return []
        return [int(index) for index in np.flatnonzero(confidence < self.teacher.threshold)]


def score_in_process(model: ServedModel) -> ScoreTexts:
    """Score texts with a model of this process, one request after the other."""

    async def score(texts: Sequence[Text]) -> ScoredTexts:
        rows = model.encode(texts)
        return ScoredTexts(model.logits(rows), tuple(row.truncated for row in rows), (len(rows),))

    return score
