"""Losses of several labels a row."""

import pytest
import torch
from torch import Tensor

from raykd import losses
from tests.unit.losses.logits import LABELS, STUDENT, TEACHER


def test_bce_kd_is_the_two_class_kl_of_each_label() -> None:
    def two_classes(values: Tensor) -> Tensor:
        return torch.stack([values, torch.zeros_like(values)], dim=-1).flatten(0, 1)  # [B * C, 2]

    kl = losses.soft_target_kl(two_classes(STUDENT), two_classes(TEACHER), temperature=2).reshape(6, 5)
    torch.testing.assert_close(losses.bce_kd(STUDENT, TEACHER, temperature=2), kl.mean(-1))


def test_label_ids_where_several_labels_are_meant_are_refused() -> None:
    with pytest.raises(ValueError, match=r"labels .* must have the shape of the logits"):
        losses.bce(STUDENT, LABELS)
