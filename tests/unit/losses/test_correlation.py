"""Correlation losses against Pearson's coefficient, and rows that take no part in it."""

import pytest
import torch
from scipy.stats import pearsonr

from raykd import losses
from tests.unit.losses.logits import ALL, STUDENT, TEACHER, gradient


def test_inter_class_correlation_of_two_classes_is_refused() -> None:
    with pytest.raises(ValueError, match="at least three classes"):
        losses.inter_class_correlation(STUDENT[:, :2], TEACHER[:, :2], temperature=1)


def test_intra_class_correlation_is_pearsons_over_the_rows_of_each_class() -> None:
    q, p = (STUDENT / 2).softmax(-1).numpy(), (TEACHER / 2).softmax(-1).numpy()
    expected = sum(1 - pearsonr(q[:, c], p[:, c]).statistic for c in range(5)) / 5
    loss = losses.intra_class_correlation(STUDENT, TEACHER, ALL, temperature=2)
    torch.testing.assert_close(loss, torch.full((6,), expected, dtype=torch.float64))


def test_intra_class_correlation_of_three_rows_by_hand() -> None:
    # the first class's probabilities deviate from their mean by (-1, 0, 1) and (1, 0, -1) tenths: rho = -1; so do the second's
    student, teacher = (torch.tensor([[a, 1 - a], [0.5, 0.5], [1 - a, a]]).log() for a in (0.4, 0.6))
    torch.testing.assert_close(
        losses.intra_class_correlation(student, teacher, torch.ones(3), temperature=1), torch.full((3,), 2.0)
    )


def test_intra_class_correlation_has_the_gradient_of_finite_differences() -> None:
    student = STUDENT.clone().requires_grad_()
    valid = torch.tensor([1, 1, 0, 1, 1, 1])
    assert torch.autograd.gradcheck(
        lambda values: losses.intra_class_correlation(values, TEACHER, valid, temperature=2), student
    )


def test_intra_class_correlation_of_equal_logits_is_zero() -> None:
    torch.testing.assert_close(
        losses.intra_class_correlation(TEACHER, TEACHER, ALL, temperature=1), torch.zeros(6, dtype=torch.float64)
    )


def test_rows_that_are_not_valid_take_no_part_in_the_correlation() -> None:
    valid = torch.tensor([1, 0, 1, 1, 0, 1]).bool()
    student = torch.where(valid[:, None], STUDENT, torch.nan).requires_grad_()
    loss = losses.intra_class_correlation(student, TEACHER, valid, temperature=1)
    alone = losses.intra_class_correlation(STUDENT[valid], TEACHER[valid], torch.ones(4), temperature=1)
    torch.testing.assert_close(loss[valid], alone)
    assert loss[~valid].eq(0).all()
    assert gradient(loss.sum(), student)[~valid].eq(0).all()


@pytest.mark.parametrize("rows", [0, 1])
def test_too_few_rows_to_correlate_have_no_gradient_but_carry_the_graph(rows: int) -> None:
    student = STUDENT.float().requires_grad_()
    loss = losses.valid_sum(
        losses.intra_class_correlation(student, TEACHER.float(), ALL.long().cumsum(0) <= rows, temperature=1), ALL
    )
    assert loss.item() == rows
    assert gradient(loss, student).eq(0).all()


def test_the_correlation_of_a_cut_batch_is_another_loss() -> None:
    whole = losses.intra_class_correlation(STUDENT, TEACHER, ALL, temperature=1).sum()
    cut = sum(
        losses.intra_class_correlation(STUDENT[i : i + 3], TEACHER[i : i + 3], ALL[:3], temperature=1).sum() for i in (0, 3)
    )
    assert abs(whole - cut) > 0.1
