import numpy as np
import pytest

from raykd.errors import DataError
from raykd.report.teacher_quality import teacher_quality


def rows(count: int, *, accuracy: float, confidence: float) -> tuple[np.ndarray, np.ndarray]:
    """Logits and labels of a two-class model that is right so often and always so sure."""
    labels = np.arange(count) % 2
    said = np.where(np.arange(count) >= accuracy * count, 1 - labels, labels)
    odds = np.log(confidence / (1 - confidence))
    logits = np.zeros((count, 2))
    logits[np.arange(count), said] = odds
    return logits, labels


def test_a_calibrated_teacher_is_not_warned_of():
    quality = teacher_quality(*rows(1000, accuracy=0.9, confidence=0.9), *rows(500, accuracy=0.89, confidence=0.9))
    assert quality.warnings == ()
    assert quality.train.headline == pytest.approx(0.9)
    # H(0.9) = 0.469 bits of the one bit that two classes can have
    assert quality.train.entropy == pytest.approx(0.469, abs=1e-3)
    assert quality.train.loss == pytest.approx(-(0.9 * np.log(0.9) + 0.1 * np.log(0.1)))


def test_a_teacher_that_knows_its_rows_by_heart_is_warned_of_with_the_numbers():
    quality = teacher_quality(*rows(1000, accuracy=1.0, confidence=0.999), *rows(500, accuracy=0.8, confidence=0.95))
    memory, confidence, hard = quality.warnings
    assert "accuracy is 100.0% on its training rows but 80.0% on the validation rows: 20.0 points" in memory
    assert "loss 0.001 there, 0.640 on the validation rows" in confidence
    assert "entropy 1.1% of the possible" in hard


def test_a_gap_on_few_rows_may_be_chance():
    few = teacher_quality(*rows(1000, accuracy=0.9, confidence=0.9), *rows(20, accuracy=0.8, confidence=0.9))
    many = teacher_quality(*rows(1000, accuracy=0.9, confidence=0.9), *rows(1000, accuracy=0.8, confidence=0.9))
    assert not any("points more, a sign of memorised rows" in warning for warning in few.warnings)
    assert any("points more, a sign of memorised rows" in warning for warning in many.warnings)


def test_losses_that_are_both_tiny_are_no_overconfidence():
    quality = teacher_quality(*rows(500, accuracy=1, confidence=0.98), *rows(500, accuracy=1, confidence=0.95))
    assert quality.warnings == ()


def test_logits_must_belong_to_the_labels():
    logits, labels = rows(10, accuracy=1, confidence=0.9)
    with pytest.raises(DataError, match=r"logits have shape \(10, 2\); 9 rows"):
        teacher_quality(logits, labels[:9], logits, labels)


def test_training_rows_of_one_class_are_said_to_be_so():
    """Such a teacher is certain of everything; fewer epochs would not help."""
    logits = np.tile([9.0, -9.0], (50, 1))
    quality = teacher_quality(logits, np.zeros(50, int), *rows(200, accuracy=0.5, confidence=0.99))
    assert len(quality.warnings) == 1
    assert quality.warnings[0].startswith("all 50 training rows have the same label")
