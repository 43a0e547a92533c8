"""From a teacher's answer on one row (numbers, probabilities, log-probabilities, votes) to logits."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from raykd.data.cell_values import label_cell
from raykd.errors import DataError, list_values, shorten

TOLERANCE = 0.01
"""Largest distance of a row's sum of probabilities from 1: rounded probabilities do not sum to it exactly."""
FLOAT32_MAX = float(np.finfo(np.float32).max)


@dataclass(frozen=True)
class AnswerValues:
    """The meaning of the answers of a file. All kinds but ``logits`` give log-probabilities, normalised over the labels."""

    kind: Literal["logits", "probabilities", "top_logprobs", "votes"]
    labels: tuple[str, ...]
    """Label texts in the order of their ids."""
    floor: float = -10.0
    """Lowest log-probability: of a label that ``top_logprobs`` lack, and of any smaller value."""
    smoothing: float = 0.5
    """Votes added to the count of every label."""

    def logits(self, answer: Any) -> npt.NDArray[np.float64]:
        """The logits of one row, ``[C]``. Raises DataError (without file and line) for a value that the kind does not allow."""
        match self.kind:
            case "logits":
                return self._numbers(answer)
            case "probabilities":
                return self._from_probabilities(answer)
            case "top_logprobs":
                return self._from_logprobs(answer)
            case "votes":
                return self._from_votes(answer)

    def _numbers(self, answer: Any) -> npt.NDArray[np.float64]:
        """A list in label order, or a mapping with every label."""
        if isinstance(answer, Mapping):
            self._check_known(answer)
            lacking = [label for label in self.labels if label not in answer]
            if lacking:
                raise DataError(f"no value for the label {lacking[0]!r}; each of {list_values(self.labels)} needs one")
            answer = [answer[label] for label in self.labels]
        if isinstance(answer, str | bytes) or not isinstance(answer, Sequence):
            raise DataError(f"{show(answer)} is no list of numbers, one for each label")
        if len(answer) != len(self.labels):
            raise DataError(f"{len(answer)} values, where {len(self.labels)} are needed, one for each label")
        return np.array([_number(value) for value in answer], np.float64)

    def _from_probabilities(self, answer: Any) -> npt.NDArray[np.float64]:
        given = self._numbers(answer)
        if given.min() < 0:
            raise DataError(
                f"{given.tolist()} has a negative number; probabilities are 0 to 1, logits need logits.kind: logits"
            )
        total = float(given.sum())
        if abs(total - 1) > TOLERANCE:
            raise DataError(
                f"{given.tolist()} sums to {total:.6g}, and not to 1 within {TOLERANCE}; give the probability of every label"
            )
        return self._normalised(np.log(np.maximum(given, math.exp(self.floor))))

    def _from_logprobs(self, answer: Any) -> npt.NDArray[np.float64]:
        if not isinstance(answer, Mapping):
            raise DataError(f"{show(answer)} is no mapping from label to log-probability")
        given = {label: _number(answer[label]) for label in self.labels if answer.get(label) is not None}
        if not given:
            raise DataError(
                f"{show(answer)} has none of the labels {list_values(self.labels)}; spell its keys as data.labels does"
            )
        above = next((label for label, value in given.items() if value > TOLERANCE), None)
        if above is not None:
            raise DataError(f"{above!r} has the log-probability {given[above]:g}, which is above 0")
        return self._normalised(np.array([max(given.get(label, self.floor), self.floor) for label in self.labels]))

    def _from_votes(self, answer: Any) -> npt.NDArray[np.float64]:
        votes = self._counts(answer)
        self._check_known(votes)
        counts = np.array([votes.get(label, 0.0) for label in self.labels], np.float64) + self.smoothing
        return np.asarray(np.log(counts / counts.sum()))

    def _counts(self, answer: Any) -> Mapping[Any, float]:
        if isinstance(answer, Mapping):
            counts = {label: _number(value) for label, value in answer.items() if value is not None}
            if any(count < 0 for count in counts.values()):
                raise DataError(f"{show(answer)} has a negative count of votes")
        elif isinstance(answer, Sequence) and not isinstance(answer, str | bytes):
            counts = dict(Counter(map(_label, answer)))
        else:
            raise DataError(f"{show(answer)} is no list of labels")
        if not sum(counts.values()):
            raise DataError("the row has no vote; give one label at least")
        return counts

    def _check_known(self, given: Mapping[Any, Any]) -> None:
        unknown = [label for label in given if label not in self.labels]
        if unknown:
            raise DataError(f"{unknown[0]!r} is not one of data.labels ({list_values(self.labels)})")

    def _normalised(self, logprobs: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """``log_softmax`` over the labels."""
        shifted = logprobs - logprobs.max()
        return np.asarray(shifted - np.log(np.exp(shifted).sum()))


def show(value: Any) -> str:
    """A value in quotes, cut for a message."""
    return shorten(value if isinstance(value, str) else str(value))


def _label(value: Any) -> str:
    if isinstance(value, list | dict) or value is None:
        raise DataError(f"{show(value)} is no label")
    return label_cell(value, "votes")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{show(value)} is not a number")
    if not abs(value) <= FLOAT32_MAX:  # not a number either
        raise DataError(f"{value} is not finite; predict that row again")
    return float(value)
