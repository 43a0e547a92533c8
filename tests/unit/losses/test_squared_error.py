import pytest
import torch
from torch.testing import assert_close

from raykd.losses import squared_error


def test_by_hand_and_by_torch():
    outputs, values = torch.tensor([[1.0], [2.0], [-1.0]]), torch.tensor([1.0, 0.0, 1.0])
    assert squared_error(outputs, values).tolist() == [0.0, 4.0, 4.0]
    assert_close(squared_error(outputs, values).mean(), torch.nn.functional.mse_loss(outputs[:, 0], values))


def test_gradient_is_twice_the_error():
    outputs = torch.tensor([[1.5], [-2.0]], dtype=torch.float64, requires_grad=True)
    values = torch.tensor([1.0, 1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(squared_error, (outputs, values))
    squared_error(outputs, values).sum().backward()
    assert_close(outputs.grad, 2 * (outputs.detach() - values[:, None]))


def test_half_precision_is_raised():
    loss = squared_error(torch.ones(2, 1, dtype=torch.bfloat16), torch.zeros(2))
    assert loss.dtype == torch.float32


@pytest.mark.parametrize("shape", [(3,), (3, 2), (2, 1)])
def test_other_shapes_do_not_broadcast(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"must have the shape \(3, 1\)"):
        squared_error(torch.zeros(shape), torch.zeros(3))
