"""Relations of the logit losses to each other and to the papers they come from."""

import pytest
import torch
from scipy.stats import pearsonr
from torch import Tensor

from raykd import losses

GENERATOR = torch.Generator().manual_seed(3)
STUDENT = 2 * torch.randn(6, 5, generator=GENERATOR, dtype=torch.float64)
TEACHER = 2 * torch.randn(6, 5, generator=GENERATOR, dtype=torch.float64)
LABELS = torch.tensor([0, 1, 2, 3, 4, 0])
ALL = torch.ones(6, dtype=torch.bool)


def gradient(loss: Tensor, values: Tensor) -> Tensor:
    return torch.autograd.grad(loss, values)[0]


@pytest.mark.parametrize("temperature", [0.5, 1.0, 4.0])
def test_kl_differs_from_the_soft_cross_entropy_by_the_teachers_entropy_so_their_gradients_are_one(temperature: float) -> None:
    student = STUDENT.clone().requires_grad_()
    kl = losses.soft_target_kl(student, TEACHER, temperature=temperature)
    target = torch.softmax(TEACHER / temperature, -1)
    ce = -(target * torch.log_softmax(student / temperature, -1)).sum(-1) * temperature**2
    entropy = torch.distributions.Categorical(logits=TEACHER / temperature).entropy()
    torch.testing.assert_close(ce - kl, entropy * temperature**2)
    torch.testing.assert_close(gradient(kl.sum(), student), gradient(ce.sum(), student))


def test_temperature_scales_logits_and_the_square_scales_the_loss() -> None:
    torch.testing.assert_close(
        losses.soft_target_kl(3 * STUDENT, 3 * TEACHER, temperature=3),
        9 * losses.soft_target_kl(STUDENT, TEACHER, temperature=1),
    )


def test_kl_tends_to_half_the_mse_of_centred_logits_as_temperature_grows() -> None:
    student, teacher = (values - values.mean(-1, keepdim=True) for values in (STUDENT, TEACHER))
    kl = losses.soft_target_kl(student, teacher, temperature=1e4)
    torch.testing.assert_close(kl, losses.mse_logits(student, teacher) / 2, rtol=1e-3, atol=0)


def test_a_very_confident_teacher_and_a_very_wrong_student_stay_finite() -> None:
    student = torch.tensor([[-1e4, 1e4, 0.0]], requires_grad=True)
    teacher = torch.tensor([[1e4, -1e4, 0.0]])
    terms = [
        losses.soft_target_kl(student, teacher, temperature=1),
        losses.bce_kd(student, teacher, temperature=1),
        losses.target_class_kd(student, teacher, torch.tensor([0]), temperature=1),
        losses.non_target_class_kd(student, teacher, torch.tensor([0]), temperature=1),
        losses.inter_class_correlation(student, teacher, temperature=1),
    ]
    for term in terms:
        assert term.isfinite().all()
        assert gradient(term.sum(), student).isfinite().all()


def test_bce_kd_is_the_two_class_kl_of_each_label() -> None:
    def two_classes(values: Tensor) -> Tensor:
        return torch.stack([values, torch.zeros_like(values)], dim=-1).flatten(0, 1)  # [B * C, 2]

    kl = losses.soft_target_kl(two_classes(STUDENT), two_classes(TEACHER), temperature=2).reshape(6, 5)
    torch.testing.assert_close(losses.bce_kd(STUDENT, TEACHER, temperature=2), kl.mean(-1))


@pytest.mark.parametrize("label", [-100, -1, 5])
def test_a_label_out_of_range_is_an_error_and_none_is_ignored(label: int) -> None:
    with pytest.raises(RuntimeError, match="out of bounds"):
        losses.cross_entropy(STUDENT, torch.full((6,), label))


def test_label_ids_where_several_labels_are_meant_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels .* must have the shape of the logits"):
        losses.bce(STUDENT, LABELS)


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
