"""Meta-KD's domain arithmetic against what it stands for: expectations, permutations, signs, means."""

import pytest
import torch
import torch.nn.functional as F

from raykd import losses

GENERATOR = torch.Generator().manual_seed(5)
LOGITS = torch.randn(7, 4, generator=GENERATOR, dtype=torch.float64)
DOMAINS = torch.tensor([0, 1, 2, 3, 0, 1, 2])


def test_the_wrong_domain_is_the_expectation_over_drawn_wrong_labels() -> None:
    every_wrong = [F.cross_entropy(LOGITS, (DOMAINS + shift) % 4, reduction="none") for shift in (1, 2, 3)]
    torch.testing.assert_close(losses.wrong_domain_ce(LOGITS, DOMAINS), torch.stack(every_wrong).mean(0))


def test_descending_the_wrong_domain_loss_ends_at_an_even_guess_among_the_wrong() -> None:
    logits = LOGITS.clone().requires_grad_()
    best = torch.where(F.one_hot(DOMAINS, 4).bool(), -30.0, 0.0).double()
    assert (losses.wrong_domain_ce(best, DOMAINS) < losses.wrong_domain_ce(logits, DOMAINS)).all()
    best.requires_grad_()
    slope = torch.autograd.grad(losses.wrong_domain_ce(best, DOMAINS).sum(), best)[0]
    torch.testing.assert_close(slope, torch.zeros_like(slope), atol=1e-12, rtol=0)


def test_one_domain_is_refused() -> None:
    with pytest.raises(ValueError, match="at least two are needed, got 1"):
        losses.wrong_domain_ce(LOGITS[:, :1], 0 * DOMAINS)
    with pytest.raises(ValueError, match="at least two are needed, got 1"):
        losses.prototype_score(LOGITS, torch.ones(1, 2, 4), 0 * DOMAINS, 0 * DOMAINS)


def test_permuted_domains_are_the_batchs_own_in_an_order_the_generator_fixes() -> None:
    permuted = losses.permuted_domains(DOMAINS, generator=torch.Generator().manual_seed(1))
    assert sorted(permuted.tolist()) == sorted(DOMAINS.tolist())
    assert permuted.tolist() != DOMAINS.tolist()
    assert permuted.equal(losses.permuted_domains(DOMAINS, generator=torch.Generator().manual_seed(1)))


def test_permuted_labels_keep_the_true_domain_as_often_as_chance() -> None:
    domains = torch.arange(4).repeat(500)
    kept = losses.permuted_domains(domains, generator=torch.Generator().manual_seed(1)).eq(domains).double().mean()
    assert abs(kept - 0.25) < 0.05


@pytest.mark.parametrize("strength", [1.0, 0.3])
def test_reversal_changes_the_sign_of_the_gradient_and_not_a_bit_of_the_value(strength: float) -> None:
    values = torch.randn(50, generator=GENERATOR).requires_grad_()
    reversed_ = losses.reverse_gradient(values, strength=strength)
    assert reversed_.equal(values)
    gradient = torch.autograd.grad((reversed_**2).sum(), values)[0]
    torch.testing.assert_close(gradient, -strength * 2 * values.detach())


def test_the_prototype_score_is_the_weighted_mean_of_cosines() -> None:
    prototypes = torch.randn(3, 2, 4, generator=GENERATOR, dtype=torch.float64)
    domains, labels = torch.tensor([0, 1, 2, 1, 0, 2, 2]), torch.tensor([0, 1, 1, 0, 1, 0, 1])
    expected = []
    for e, d, y in zip(LOGITS, domains.tolist(), labels.tolist(), strict=True):
        cosines = [float(e @ prototypes[k, y] / e.norm() / prototypes[k, y].norm()) for k in range(3)]
        expected.append(0.6 * cosines[d] + 0.2 * sum(cosines[k] for k in range(3) if k != d))
    score = losses.prototype_score(LOGITS, prototypes, domains, labels, alpha=0.6)
    torch.testing.assert_close(score, torch.tensor(expected, dtype=torch.float64))


def test_a_domain_without_rows_of_a_class_counts_as_cosine_zero() -> None:
    prototypes = torch.ones(2, 1, 4)
    prototypes[1] = 0
    score = losses.prototype_score(torch.ones(1, 4), prototypes, torch.tensor([0]), torch.tensor([0]), alpha=0.5)
    torch.testing.assert_close(score, torch.tensor([0.5]))


@pytest.mark.parametrize("alpha", [-0.1, 1.1])
def test_a_mixing_weight_outside_its_bounds_is_refused(alpha: float) -> None:
    with pytest.raises(ValueError, match=r"alpha must lie in 0 \.\. 1"):
        losses.prototype_score(LOGITS, torch.ones(2, 4, 4), DOMAINS % 2, DOMAINS, alpha=alpha)


def test_expertise_weighs_more_what_is_typical_and_right_and_never_carries_a_gradient() -> None:
    logits = torch.tensor([[4.0, 0.0], [0.0, 0.0], [0.0, 4.0]], requires_grad=True)
    weight = losses.domain_expertise_weight(logits, torch.zeros(3, dtype=torch.long), torch.full((3,), 0.2, requires_grad=True))
    assert weight[0] > weight[1] > weight[2]
    assert not weight.requires_grad
    more = losses.domain_expertise_weight(logits, torch.zeros(3, dtype=torch.long), torch.full((3,), 0.4))
    torch.testing.assert_close(more / weight, torch.full((3,), 1.4 / 1.2))
