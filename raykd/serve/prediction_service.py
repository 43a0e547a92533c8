"""From a request to its answers: the student's logits, the teacher's where the student is unsure."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raykd.data.tokenizer import Text
from raykd.serve.answers import LabelScores, format_answers
from raykd.serve.predict_request import PredictRequest
from raykd.serve.served_model import ModelDescription, ServedModel


@dataclass(frozen=True)
class ScoredTexts:
    """A model's outputs on the texts of a request."""

    logits: NDArray[np.float32]
    """``[N, C]``."""
    truncated: tuple[bool, ...]
    """Texts that were cut."""
    batch_rows: tuple[int, ...]
    """Rows of the forward pass that scored each text, those of other requests included."""

    def part(self, start: int, stop: int) -> "ScoredTexts":
        """The outputs on the texts from ``start`` to ``stop``, not included."""
        return ScoredTexts(self.logits[start:stop], self.truncated[start:stop], self.batch_rows[start:stop])


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
    """Rows of the student's forward pass that scored each text."""


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
        """Answer all texts of a request. Raises OverloadedError."""
        scored = await self._score(request.texts)
        if self.teacher is None:
            return Prediction(self._answers(request, self.student, scored), escalated=0, batch_rows=scored.batch_rows)
        answers = self._answers(request, self.student, scored, answered_by="student")
        unsure = self._unsure(scored.logits, self.teacher.threshold)
        if unsure:
            asked = await self.teacher.score([request.texts[index] for index in unsure])
            theirs = self._answers(request, self.teacher.description, asked, answered_by="teacher")
            for index, answer in zip(unsure, theirs, strict=True):
                answers[index] = answer
        return Prediction(answers, escalated=len(unsure), batch_rows=scored.batch_rows)

    @staticmethod
    def _answers(
        request: PredictRequest, model: ModelDescription, scored: ScoredTexts, answered_by: str | None = None
    ) -> list[LabelScores]:
        return format_answers(
            model,
            scored.logits,
            truncated=scored.truncated,
            top_k=request.top_k,
            return_logits=request.return_logits,
            answered_by=answered_by,
        )

    def _unsure(self, logits: NDArray[np.float32], threshold: float) -> list[int]:
        """Rows whose confidence is below the threshold."""
        confidence = self.student.confidence(logits)
        return [] if confidence is None else [int(index) for index in np.flatnonzero(confidence < threshold)]


def score_in_process(model: ServedModel) -> ScoreTexts:
    """Score texts with a model of this process, one request after the other."""

    async def score(texts: Sequence[Text]) -> ScoredTexts:
        rows = model.encode(texts)
        logits, sizes = model.score(rows)
        return ScoredTexts(logits, tuple(row.truncated for row in rows), tuple(sizes.tolist()))

    return score
