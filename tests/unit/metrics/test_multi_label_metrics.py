import numpy as np
import pytest

from raykd.errors import DataError
from raykd.metrics.multi_label_metrics import multi_label_class_metrics, multi_label_metrics, multi_label_reliability

NAMES = ("news", "sport", "art")
TARGETS = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [0, 1, 0]])
LOGITS = np.array([[2.0, -1, -3], [1, -1, -2], [-1, -1, -1], [1, 3, -1]])
# said: 100, 100, 000, 110: news 2 hits of 3 said and 2 true, sport 1 hit of 1 said and 2 true, art nothing


def test_by_hand():
    metrics = multi_label_metrics(TARGETS, LOGITS, NAMES)
    assert metrics["exact_match"] == pytest.approx(2 / 4)
    assert metrics["macro_precision"] == pytest.approx((2 / 3 + 1 + 0) / 3)
    assert metrics["macro_recall"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert metrics["macro_f1"] == pytest.approx((4 / 5 + 2 / 3 + 0) / 3)
    assert metrics["micro_f1"] == pytest.approx(2 * 3 / (2 * 3 + 1 + 1))
    probability = 1 / (1 + np.exp(-LOGITS))
    assert metrics["loss"] == pytest.approx(-np.log(np.where(TARGETS == 1, probability, 1 - probability)).mean())
    # news: pairs of a row with and one without, 2 > -1, 2 > 1, 1 > -1, 1 = 1; sport: -1 = -1, twice, and 3 over both
    assert metrics["auc"] == pytest.approx((3.5 / 4 + 3 / 4) / 2)


def test_classes_by_hand():
    classes = multi_label_class_metrics(TARGETS, LOGITS, NAMES)
    assert classes["sport"] == pytest.approx({"precision": 1, "recall": 1 / 2, "f1": 2 / 3, "rows": 2})
    assert classes["art"] == {"precision": 0, "recall": 0, "f1": 0, "rows": 0}


def test_confidence_is_in_the_answer_given():
    bins = multi_label_reliability(np.array([[1, 0]]), np.array([[np.log(4), -np.log(4)]]), bins=2)  # 0.8 in both answers
    assert bins.rows.tolist() == [0, 2]
    assert bins.confidence[1] == pytest.approx(0.8)
    assert bins.accuracy[1] == 1


def test_labels_that_nobody_or_everybody_has_give_a_defined_area():
    assert multi_label_metrics(np.array([[1, 0], [1, 0]]), np.zeros((2, 2)), ("a", "b"))["auc"] == 0.5


@pytest.mark.parametrize(
    ("targets", "logits", "message"),
    [
        (np.zeros((2, 2), int), np.zeros((2, 3)), r"targets have shape \(2, 2\)"),
        (np.full((2, 3), 2), np.zeros((2, 3)), "something else than 0 and 1"),
        (np.zeros((2, 3), int), np.full((2, 3), np.inf), "row 0"),
    ],
)
def test_what_does_not_fit_is_refused(targets: np.ndarray, logits: np.ndarray, message: str):
    with pytest.raises(DataError, match=message):
        multi_label_metrics(targets, logits, NAMES)
