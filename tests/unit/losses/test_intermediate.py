"""Relations between models of different shapes, and what is refused."""

import pytest
import torch

from raykd.losses import relation_kl

MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0]])


@pytest.mark.parametrize("heads", [1, 2, 4])
def test_relations_of_other_widths_are_those_of_a_reference(heads: int) -> None:
    generator = torch.Generator().manual_seed(1)
    student = torch.randn(2, 4, 8, generator=generator, dtype=torch.float64)
    teacher = torch.randn(2, 4, 12, generator=generator, dtype=torch.float64)
    found = relation_kl(student, teacher, MASK, heads=heads)
    for row, length in enumerate(MASK.sum(1).tolist()):
        total = 0.0
        for head in range(heads):
            logs = []
            for vectors in (student, teacher):
                size = vectors.shape[-1] // heads
                own = vectors[row, :length, head * size : (head + 1) * size]
                logs.append(torch.log_softmax(torch.einsum("id,jd->ij", own, own) / size**0.5, dim=-1))
            total += torch.nn.functional.kl_div(*logs, reduction="sum", log_target=True).item()
        assert found[row].item() == pytest.approx(total / (heads * length))


def test_shapes_that_cannot_be_compared_are_refused() -> None:
    with pytest.raises(ValueError, match="3 relation heads do not divide the width 8"):
        relation_kl(torch.zeros(2, 4, 8), torch.zeros(2, 4, 12), MASK, heads=3)
    with pytest.raises(ValueError, match="must have the same rows and tokens"):
        relation_kl(torch.zeros(2, 3, 8), torch.zeros(2, 4, 8), MASK, heads=1)


def test_large_values_stay_finite() -> None:
    student = (1e3 * torch.randn(2, 4, 8)).requires_grad_()
    loss = relation_kl(student, 1e3 * torch.randn(2, 4, 8), MASK, heads=2)
    loss.sum().backward()
    assert loss.isfinite().all()
    assert student.grad is not None
    assert student.grad.isfinite().all()
