"""The terms of decoupled distillation against the KL they add up to."""

import pytest
import torch
from torch import Tensor

from raykd import losses
from tests.unit.losses.logits import LABELS, STUDENT, TEACHER, gradient


def decoupled(student: Tensor, teacher: Tensor, labels: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    return (
        losses.target_class_kd(student, teacher, labels, temperature=temperature),
        losses.non_target_class_kd(student, teacher, labels, temperature=temperature),
    )


def test_decoupled_terms_add_up_to_the_kl_when_nckd_has_the_weight_of_the_teachers_doubt() -> None:
    target, others = decoupled(STUDENT, TEACHER, LABELS, 3)
    doubt = 1 - (TEACHER / 3).softmax(-1).gather(1, LABELS[:, None]).squeeze(1)
    torch.testing.assert_close(target + doubt * others, losses.soft_target_kl(STUDENT, TEACHER, temperature=3))


def test_with_two_classes_the_target_term_is_the_kl_and_nothing_is_left_for_the_other() -> None:
    student = STUDENT[:, :2].clone().requires_grad_()
    target, others = decoupled(student, TEACHER[:, :2], LABELS % 2, 3)
    torch.testing.assert_close(target, losses.soft_target_kl(student, TEACHER[:, :2], temperature=3))
    assert others.eq(0).all()
    assert gradient(others.sum(), student).eq(0).all()


def test_decoupling_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two classes"):
        losses.target_class_kd(STUDENT[:, :1], TEACHER[:, :1], 0 * LABELS, temperature=1)


def test_the_target_term_keeps_a_gradient_where_one_minus_p_rounds_to_zero() -> None:
    student = torch.tensor([[40.0, 0.0, 0.0]], requires_grad=True)  # 1 - p_y = 8e-18 is 0 in fp32
    loss = losses.target_class_kd(student, torch.tensor([[0.0, 0.0, 0.0]]), torch.tensor([0]), temperature=1)
    # KL([1/3, 2/3] ‖ [1, 2 e^-40]) = ln(1/3)/3 + 2/3 (ln(2/3) - ln 2 + 40)
    torch.testing.assert_close(loss.item(), 1 / 3 * -1.0986123 + 2 / 3 * (-1.0986123 + 40))
    torch.testing.assert_close(gradient(loss.sum(), student)[0, 0], torch.tensor(2 / 3))
