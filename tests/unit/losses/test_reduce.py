"""The helpers that every loss and the loop stand on."""

import pytest
import torch

from raykd.losses import keep, mean_over_tokens, valid_sum

NAN = float("nan")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
@pytest.mark.parametrize("mask", [torch.tensor([True, False]), torch.tensor([1, 0])])
def test_keep_covers_the_leading_axes_and_leaves_the_dtype(dtype: torch.dtype, mask: torch.Tensor) -> None:
    kept = keep(torch.ones(2, 3, dtype=dtype), mask)
    assert kept.dtype == dtype
    assert kept.tolist() == [[1, 1, 1], [0, 0, 0]]


def test_keep_stops_a_nan_on_its_way_back() -> None:
    values = torch.tensor([2.0, -1.0], requires_grad=True)
    torch.sqrt(keep(values, torch.tensor([1, 0])) + 1).sum().backward()  # masking the root instead would leave 0 / 0
    torch.testing.assert_close(values.grad, torch.tensor([0.5 / 3**0.5, 0.0]))


def test_valid_sum_adds_valid_rows_alone() -> None:
    per_row, valid = torch.tensor([1.0, 2.0, NAN]), torch.tensor([True, True, False])
    assert valid_sum(per_row, valid).item() == 3


def test_a_sum_over_nothing_has_a_gradient_and_it_is_zero() -> None:
    per_row = torch.tensor([NAN, 1.0], requires_grad=True)
    loss = valid_sum(per_row, torch.tensor([False, False]))
    loss.backward()
    assert loss.item() == 0
    assert per_row.grad is not None
    assert per_row.grad.eq(0).all()


@pytest.mark.parametrize("trailing", [(), (2,)])
def test_mean_over_tokens_is_each_rows_own(trailing: tuple[int, ...]) -> None:
    values = torch.tensor([[1.0, 3.0, NAN], [5.0, NAN, NAN], [NAN, NAN, NAN]])
    values = values.reshape(3, 3, *[1] * len(trailing)).expand(3, 3, *trailing)
    mean = mean_over_tokens(values, torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]]))
    assert mean.tolist() == torch.tensor([2.0, 5.0, 0.0]).reshape(3, *[1] * len(trailing)).expand(3, *trailing).tolist()


def test_mean_over_tokens_adds_half_precision_in_fp32() -> None:
    ones = torch.ones(1, 1000, dtype=torch.bfloat16)  # a bf16 sum stops at 256
    mean = mean_over_tokens(ones, torch.ones(1, 1000))
    assert mean.dtype == torch.float32
    assert mean.item() == 1
