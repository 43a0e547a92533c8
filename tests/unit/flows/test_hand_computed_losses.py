"""Each loss on numbers small enough to work out on paper; the working stands beside them."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from raykd import losses

LN2, LN3 = math.log(2), math.log(3)
KL_3_TO_1 = 0.25 * math.log(0.5) + 0.75 * math.log(1.5)  # KL([1/4, 3/4] ‖ [1/2, 1/2]) = 0.130812


def rows(*values: float | list[float]) -> Tensor:
    return torch.tensor([list(values)], dtype=torch.float32)


def log_of(*probabilities: float) -> Tensor:
    return torch.tensor([probabilities]).log()


EVEN = rows(0.0, 0.0)
LABEL = torch.tensor([0])

HAND: dict[str, tuple[Callable[[], Tensor], float]] = {
    "ce: softmax(0, ln 3) = (1/4, 3/4)": (lambda: losses.cross_entropy(rows(0, LN3), torch.tensor([1])), math.log(4 / 3)),
    "kl at T = 1": (lambda: losses.soft_target_kl(EVEN, rows(0, LN3), temperature=1), KL_3_TO_1),
    "kl at T = 2 times 4": (lambda: losses.soft_target_kl(EVEN, rows(0, 2 * LN3), temperature=2), 4 * KL_3_TO_1),
    "mse: (4 + 0) / 2": (lambda: losses.mse_logits(rows(1, 2), rows(3, 2)), 2.0),
    "bce: -ln 1/2 and -ln(1 - 3/4), halved": (
        lambda: losses.bce(rows(0, LN3), torch.tensor([[1, 0]])),
        (LN2 + math.log(4)) / 2,
    ),
    "bce kd: one label 3 to 1, one equal": (
        lambda: losses.bce_kd(EVEN, rows(2 * LN3, 0), temperature=2),
        4 * KL_3_TO_1 / 2,
    ),
    "tckd: KL([1/2, 1/2] ‖ [1/3, 2/3])": (
        lambda: losses.target_class_kd(rows(0, 0, 0), log_of(0.5, 0.25, 0.25), LABEL, temperature=1),
        0.5 * math.log(1.5) + 0.5 * math.log(0.75),
    ),
    "nckd: the others stand 3 to 1": (
        lambda: losses.non_target_class_kd(rows(9, 0, 0), log_of(0.5, 0.125, 0.375), LABEL, temperature=1),
        KL_3_TO_1,
    ),
    "inter-class: deviations (-1, 2, -1) and (2, -1, -1) have cosine -3/6": (
        lambda: losses.inter_class_correlation(log_of(0.25, 0.5, 0.25), log_of(0.5, 0.25, 0.25), temperature=1),
        1.5,
    ),
    "hidden: one valid token, (0 + 4) / 2": (
        lambda: losses.hidden_mse(rows([1, 2], [9, 9]), rows([1, 4], [0, 0]), torch.tensor([[1, 0]])),
        2.0,
    ),
    "attention: 1 + 4 + 9 + 16 over four pairs": (
        lambda: losses.attention_mse(torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 2], [3, 4]]]]), torch.tensor([[1, 1]])),
        7.5,
    ),
    "attention: only the first token asks and is asked": (
        lambda: losses.attention_mse(torch.zeros(1, 1, 2, 2), torch.tensor([[[[1.0, 2], [3, 4]]]]), torch.tensor([[1, 0]])),
        1.0,
    ),
    "relation: teacher rows (3/4, 1/4) and (1/4, 3/4) against an even student, d_r = 4": (
        lambda: losses.relation_kl(
            torch.zeros(1, 2, 2),
            (2 * LN3) ** 0.5 * torch.tensor([[[1.0, 0, 0, 0], [0, 1, 0, 0]]]),
            torch.tensor([[1, 1]]),
            heads=1,
        ),
        KL_3_TO_1,
    ),
    "relation: padding is no key and no query": (
        lambda: losses.relation_kl(
            torch.zeros(1, 3, 2), torch.tensor([[[LN3**0.5], [0], [9]]]), torch.tensor([[1, 1, 0]]), heads=1
        ),
        KL_3_TO_1 / 2,
    ),
    "vector: (1 + 9) / 2": (lambda: losses.vector_mse(rows(1, 0), rows(2, 3)), 5.0),
    "wrong domain: -ln 1/4 and -ln 1/2, halved": (
        lambda: losses.wrong_domain_ce(log_of(0.25, 0.25, 0.5), torch.tensor([1])),
        (math.log(4) + LN2) / 2,
    ),
    "wrong domain of two: the other one": (lambda: losses.wrong_domain_ce(rows(0, LN3), torch.tensor([1])), math.log(4)),
    "expertise: certain and right, (1 + 1/2) / (1 + 1)": (
        lambda: losses.domain_expertise_weight(rows(100, 0), LABEL, torch.tensor([0.5])),
        0.75,
    ),
    "expertise: p_y = 1/2, 1 / (e^(1/4) + 1)": (
        lambda: losses.domain_expertise_weight(EVEN, LABEL, torch.tensor([0.0])),
        1 / (math.exp(0.25) + 1),
    ),
    "prototype: cosine 1 at home, 0 elsewhere": (
        lambda: losses.prototype_score(rows(5, 0), torch.eye(2)[:, None], LABEL, LABEL, alpha=0.75),
        0.75,
    ),
    "prototype: three domains at 0°, 45° and 180°": (
        lambda: losses.prototype_score(rows(1, 0), torch.tensor([[[2.0, 0]], [[1, 1]], [[-3, 0]]]), LABEL, LABEL, alpha=0.5),
        0.5 * 1 + 0.25 * (math.sqrt(0.5) - 1),
    ),
}


@pytest.mark.parametrize("name", HAND)
def test_hand_computed(name: str) -> None:
    compute, expected = HAND[name]
    torch.testing.assert_close(compute(), torch.tensor([expected]), rtol=1e-5, atol=1e-6)
