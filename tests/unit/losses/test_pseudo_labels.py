"""Losses against a teacher's decisions."""

import math

import pytest
import torch
import torch.nn.functional as F

from raykd.losses import bce, pseudo_label_bce, pseudo_label_ce
from tests.unit.losses.logits import STUDENT, TEACHER, gradient


def test_by_hand() -> None:
    student, teacher = torch.tensor([[0.0, math.log(3.0)]] * 2), torch.tensor([[0.0, math.log(4.0)], [math.log(1.5), 0.0]])
    loss = pseudo_label_ce(student, teacher, min_confidence=0.7)  # the teacher is sure by 0.8, and by 0.6
    torch.testing.assert_close(loss, torch.tensor([-math.log(0.75), 0.0]))
    both = pseudo_label_bce(student, teacher, min_confidence=0.55)  # label 0 of the first row is undecided: 0.5
    torch.testing.assert_close(both, torch.tensor([-math.log(0.75) / 2, -math.log(0.5) / 2]))


def test_without_a_threshold_it_is_the_loss_on_the_teachers_labels() -> None:
    expected = F.cross_entropy(STUDENT, TEACHER.argmax(-1), reduction="none")
    torch.testing.assert_close(pseudo_label_ce(STUDENT, TEACHER, min_confidence=0.0), expected)
    torch.testing.assert_close(pseudo_label_bce(STUDENT, TEACHER, min_confidence=0.0), bce(STUDENT, TEACHER > 0))


@pytest.mark.parametrize("loss", [pseudo_label_ce, pseudo_label_bce])
def test_rows_below_the_threshold_have_no_gradient(loss) -> None:
    student = STUDENT.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda values: loss(values, TEACHER, min_confidence=0.6), (student,))
    unsure = torch.full_like(TEACHER, 0.1)
    assert gradient(loss(student, unsure, min_confidence=0.9).sum(), student).eq(0).all()
    broken = STUDENT.index_fill(0, torch.tensor([2]), float("nan")).requires_grad_()
    teacher = TEACHER.index_fill(0, torch.tensor([2]), 0.0)
    values = loss(broken, teacher, min_confidence=0.55)
    assert values.isfinite().all()
    assert values[2] == 0


@pytest.mark.parametrize("loss", [pseudo_label_ce, pseudo_label_bce])
def test_half_precision_is_raised_and_shapes_do_not_broadcast(loss) -> None:
    assert loss(STUDENT.bfloat16(), TEACHER.bfloat16(), min_confidence=0.5).dtype == torch.float32
    with pytest.raises(ValueError, match="must have one shape"):
        loss(STUDENT, TEACHER[:, :1], min_confidence=0.5)
