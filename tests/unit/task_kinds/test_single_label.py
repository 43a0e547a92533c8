"""Weighted classes in the hard loss."""

import math

import pytest
import torch

from raykd.task_kinds import task_kind


def test_the_gradient_of_weighted_classes_computed_by_hand() -> None:
    """Softmax of (0, ln 3) is (1/4, 3/4): the gradient is weight * (p - onehot), the loss weight * -ln p."""
    kind = task_kind("single_label").with_class_weights((2.0, 0.5))
    logits = torch.tensor([[0.0, math.log(3)], [0.0, math.log(3)]], requires_grad=True)
    loss = kind.hard_loss(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(loss, torch.tensor([2 * math.log(4), 0.5 * math.log(4 / 3)]))
    loss.sum().backward()
    torch.testing.assert_close(logits.grad, torch.tensor([[2 * -0.75, 2 * 0.75], [0.5 * 0.25, 0.5 * -0.25]]))


def test_a_kind_without_weights_is_left_as_it_is() -> None:
    kind, logits, labels = task_kind("single_label"), torch.tensor([[0.3, -1.0]]), torch.tensor([1])
    assert torch.equal(kind.hard_loss(logits, labels), kind.with_class_weights((1.0, 1.0)).hard_loss(logits, labels))
    kind.with_class_weights((3.0, 1.0))
    assert task_kind("single_label") == kind


@pytest.mark.parametrize("name", ["multi_label", "regression"])
def test_kinds_without_exclusive_classes_have_no_weights(name: str) -> None:
    with pytest.raises(NotImplementedError, match=name):
        task_kind(name).with_class_weights((1.0, 2.0))
