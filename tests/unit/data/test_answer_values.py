"""Answers of every kind against softmaxes computed another way, and values that no kind accepts."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.data.answer_values import AnswerValues
from raykd.errors import DataError

LABELS = ("bad", "fair", "good")
PROBABILITIES = st.lists(st.floats(0, 1), min_size=3, max_size=3).filter(lambda values: sum(values) > 0.01)


def softmax(logits: np.ndarray) -> np.ndarray:
    return np.asarray(np.exp(logits) / np.exp(logits).sum())


@given(PROBABILITIES)
def test_probabilities_come_back_from_their_logits(raw: list[float]) -> None:
    given_values = [value / sum(raw) for value in raw]
    found = softmax(AnswerValues("probabilities", LABELS, floor=-20).logits(given_values))
    np.testing.assert_allclose(found, given_values, atol=1e-8)
    named = dict(reversed(list(zip(LABELS, given_values, strict=True))))
    np.testing.assert_array_equal(AnswerValues("probabilities", LABELS, floor=-20).logits(named), AnswerValues(
        "probabilities", LABELS, floor=-20).logits(given_values))  # fmt: skip


@given(st.dictionaries(st.sampled_from([*LABELS, "other", " good"]), st.floats(-30, 0)), st.floats(-15, -1))
def test_log_probabilities_are_normalised_over_the_labels(given_values: dict[str, float], floor: float) -> None:
    values = AnswerValues("top_logprobs", LABELS, floor=floor)
    if not set(LABELS) & set(given_values):
        with pytest.raises(DataError, match="has none of the labels 'bad', 'fair', 'good'"):
            values.logits(given_values)
        return
    raw = [math.exp(max(given_values.get(label, floor), floor)) for label in LABELS]
    found = values.logits(given_values)
    np.testing.assert_allclose(np.exp(found), np.array(raw) / sum(raw), rtol=1e-9)
    absent = [label for label in LABELS if label not in given_values]
    for label in absent:
        assert found[LABELS.index(label)] == found.min()


@given(st.lists(st.sampled_from(LABELS), min_size=1), st.floats(0.01, 3))
def test_votes_become_smoothed_frequencies(votes: list[str], smoothing: float) -> None:
    values = AnswerValues("votes", LABELS, smoothing=smoothing)
    expected = [(votes.count(label) + smoothing) / (len(votes) + 3 * smoothing) for label in LABELS]
    np.testing.assert_allclose(np.exp(values.logits(votes)), expected, rtol=1e-9)
    np.testing.assert_array_equal(values.logits(votes), values.logits(dict(Counter(votes))))


def test_votes_are_spelled_as_labels_of_rows_are() -> None:
    values = AnswerValues("votes", ("0", "1"), smoothing=1)
    np.testing.assert_array_equal(values.logits([1.0, 1, "0"]), values.logits(["1", "1", "0"]))


def test_logits_stay_as_they_are() -> None:
    values = AnswerValues("logits", LABELS)
    assert values.logits([1, -2.5, 3]).tolist() == values.logits({"good": 3, "bad": 1, "fair": -2.5}).tolist() == [1, -2.5, 3]


@pytest.mark.parametrize(
    ("kind", "answer", "complaint"),
    [
        ("probabilities", [0.5, 0.2, 0.2], r"sums to 0\.9, and not to 1 within 0\.01"),
        ("probabilities", [1.2, -0.1, -0.1], "has a negative number"),
        ("probabilities", [0.5, 0.5], "2 values, where 3 are needed"),
        ("probabilities", {"bad": 0.5, "good": 0.5}, "no value for the label 'fair'"),
        ("probabilities", {"bad": 0.5, "good": 0.5, "fair": 0.0, "Good": 0.0}, r"'Good' is not one of data\.labels"),
        ("probabilities", "0.5,0.2,0.3", "is no list of numbers"),
        ("logits", [1.0, None, 2.0], "'None' is not a number"),
        ("logits", [1.0, True, 2.0], "'True' is not a number"),
        ("logits", [1.0, math.nan, 2.0], "nan is not finite"),
        ("logits", [1.0, 1e39, 2.0], "is not finite"),
        ("top_logprobs", {"bad": 0.7}, "'bad' has the log-probability 0.7, which is above 0"),
        ("top_logprobs", {"bad": "-1"}, "'-1' is not a number"),
        ("top_logprobs", {"bad": -math.inf}, "is not finite"),
        ("top_logprobs", [-1.0, -2.0, -3.0], "is no mapping from label"),
        ("votes", ["good", "great"], r"'great' is not one of data\.labels"),
        ("votes", [], "the row has no vote"),
        ("votes", {"good": -1, "bad": 2}, "negative count"),
        ("votes", "good", "'good' is no list of labels"),
        ("votes", [["good"]], "is no label"),
    ],
)  # fmt: skip
def test_other_values_are_refused(kind: str, answer: object, complaint: str) -> None:
    with pytest.raises(DataError, match=complaint):
        AnswerValues(kind, LABELS).logits(answer)  # type: ignore[arg-type]  # a kind by name
