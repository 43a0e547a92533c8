"""Relations of KL, cross entropy and MSE on logits to each other."""

import pytest
import torch

from raykd import losses
from tests.unit.losses.logits import STUDENT, TEACHER, gradient


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


@pytest.mark.parametrize("label", [-100, -1, 5])
def test_a_label_out_of_range_is_an_error_and_none_is_ignored(label: int) -> None:
    with pytest.raises(RuntimeError, match="out of bounds"):
        losses.cross_entropy(STUDENT, torch.full((6,), label))
