"""Contract of every row-wise loss: one table of cases, each with a reference in numpy and scipy, one row at a time."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from scipy.special import expit, log_softmax, rel_entr, softmax
from scipy.stats import pearsonr
from torch import Tensor

from raykd import losses
from raykd.losses import keep, valid_sum
from tests.unit.losses.logits import gradient

T = 2.5
B, C, L, H, HEADS = 5, 4, 6, 3, 2
LABELS = torch.tensor([0, 3, 1, 1, 2])
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0], [1, 0, 0, 0, 0, 0], [1, 1, 1, 1, 1, 0], [1, 1, 0, 0, 0, 0]])
Array = np.ndarray


@dataclass(frozen=True)
class Case:
    name: str
    loss: Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]
    """(student, teacher, labels [B], mask [B, L]) -> [B]."""
    reference: Callable[[Array, Array, int, Array], float]
    """The same of one row."""
    shape: tuple[int, ...] = (C,)
    teacher: bool = True
    """True for a comparison with a teacher: shapes are checked."""
    distance: bool = True
    """True when a student equal to the teacher costs nothing."""
    per_token: bool = False

    def inputs(self, dtype: torch.dtype = torch.float64, rows: int = B) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(7)
        student, teacher = (3 * torch.randn(rows, *self.shape, generator=generator, dtype=torch.float64) for _ in range(2))
        return student.to(dtype).requires_grad_(), teacher.to(dtype)


def _non_targets(values: Array, label: int) -> Array:
    others = np.delete(softmax(values / T), label)
    return others / others.sum()


def _target(values: Array, label: int) -> Array:
    p = softmax(values / T)[label]
    return np.array([p, 1 - p])


def _bernoulli_kl(s: float, t: float) -> float:
    q, p = expit(s / T), expit(t / T)
    return float(rel_entr(p, q) + rel_entr(1 - p, 1 - q))


def _hidden(s: Array, t: Array, y: int, m: Array) -> float:
    return float(np.mean([(s[i, h] - t[i, h]) ** 2 for i in range(L) if m[i] for h in range(H)]))


def _attention(s: Array, t: Array, y: int, m: Array) -> float:
    pairs = [(a, i, j) for a in range(HEADS) for i in range(L) for j in range(L) if m[i] and m[j]]
    return float(np.mean([(s[pair] - t[pair]) ** 2 for pair in pairs]))


def _relation(s: Array, t: Array, y: int, m: Array) -> float:
    """Relations with the padded positions cut away, three heads of one column each."""
    kept = np.flatnonzero(m)
    total = 0.0
    for head in range(H):
        ours, theirs = s[kept, head], t[kept, head]  # d_r = 1: the products need no scaling
        for i in range(len(kept)):
            total += float(rel_entr(softmax(theirs[i] * theirs), softmax(ours[i] * ours)).sum())
    return total / (H * len(kept))


CASES = [
    Case(
        "cross_entropy",
        lambda s, t, y, m: losses.cross_entropy(s, y),
        lambda s, t, y, m: -np.log(softmax(s)[y]),
        teacher=False,
        distance=False,
    ),
    Case(
        "soft_target_kl",
        lambda s, t, y, m: losses.soft_target_kl(s, t, temperature=T),
        lambda s, t, y, m: T**2 * rel_entr(softmax(t / T), softmax(s / T)).sum(),
    ),
    Case(
        "mse_logits",
        lambda s, t, y, m: losses.mse_logits(s, t),
        lambda s, t, y, m: sum((a - b) ** 2 for a, b in zip(s, t, strict=True)) / C,
    ),
    Case(
        "bce",
        lambda s, t, y, m: losses.bce(s, (t > 0).long()),
        lambda s, t, y, m: -np.mean([np.log(expit(a) if b > 0 else 1 - expit(a)) for a, b in zip(s, t, strict=True)]),
        distance=False,
    ),
    Case(
        "bce_kd",
        lambda s, t, y, m: losses.bce_kd(s, t, temperature=T),
        lambda s, t, y, m: T**2 * np.mean([_bernoulli_kl(a, b) for a, b in zip(s, t, strict=True)]),
    ),
    Case(
        "target_class_kd",
        lambda s, t, y, m: losses.target_class_kd(s, t, y, temperature=T),
        lambda s, t, y, m: T**2 * rel_entr(_target(t, y), _target(s, y)).sum(),
    ),
    Case(
        "non_target_class_kd",
        lambda s, t, y, m: losses.non_target_class_kd(s, t, y, temperature=T),
        lambda s, t, y, m: T**2 * rel_entr(_non_targets(t, y), _non_targets(s, y)).sum(),
    ),
    Case(
        "inter_class_correlation",
        lambda s, t, y, m: losses.inter_class_correlation(s, t, temperature=T),
        lambda s, t, y, m: 1 - pearsonr(softmax(s / T), softmax(t / T)).statistic,
    ),
    Case("hidden_mse", lambda s, t, y, m: losses.hidden_mse(s, t, m), _hidden, shape=(L, H), per_token=True),
    Case("attention_mse", lambda s, t, y, m: losses.attention_mse(s, t, m), _attention, shape=(HEADS, L, L), per_token=True),
    Case(
        "relation_kl",
        lambda s, t, y, m: losses.relation_kl(s, t, m, heads=H),
        _relation,
        shape=(L, H),
        teacher=False,  # widths may differ
        per_token=True,
    ),
    Case(
        "vector_mse",
        lambda s, t, y, m: losses.vector_mse(s, t),
        lambda s, t, y, m: np.square(s - t).mean(),
        shape=(H,),
    ),
    Case(
        "wrong_domain_ce",
        lambda s, t, y, m: losses.wrong_domain_ce(s, y),
        lambda s, t, y, m: np.mean([-log_softmax(s)[k] for k in range(C) if k != y]),
        teacher=False,
        distance=False,
    ),
]


def cases(*flags: str) -> pytest.MarkDecorator:
    chosen = [case for case in CASES if all(getattr(case, flag) for flag in flags)]
    return pytest.mark.parametrize("case", chosen, ids=lambda case: case.name)


@cases()
def test_equals_a_reference_written_row_by_row(case: Case) -> None:
    student, teacher = case.inputs()
    expected = [
        case.reference(student[i].detach().numpy(), teacher[i].numpy(), int(LABELS[i]), MASK[i].numpy()) for i in range(B)
    ]
    torch.testing.assert_close(case.loss(student, teacher, LABELS, MASK), torch.tensor(expected, dtype=torch.float64))


@cases()
def test_gradient_is_that_of_finite_differences(case: Case) -> None:
    student, teacher = case.inputs()
    assert torch.autograd.gradcheck(lambda values: case.loss(values, teacher, LABELS, MASK), student)


@cases("distance")
def test_a_student_equal_to_the_teacher_costs_nothing_and_stays(case: Case) -> None:
    _, teacher = case.inputs(torch.float32)
    student = teacher.clone().requires_grad_()
    loss = case.loss(student, teacher, LABELS, MASK)
    torch.testing.assert_close(loss, torch.zeros(B), atol=1e-6, rtol=0)
    torch.testing.assert_close(gradient(loss.sum(), student), torch.zeros_like(student), atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@cases()
def test_half_precision_in_fp32_out(case: Case, dtype: torch.dtype) -> None:
    student, teacher = case.inputs(dtype)
    loss = case.loss(student, teacher, LABELS, MASK)
    assert loss.dtype == torch.float32
    # the very loss of the rounded inputs: nothing is computed in half precision on the way
    exact = case.loss(student.double(), teacher.double(), LABELS, MASK)
    torch.testing.assert_close(loss, exact.float(), rtol=1e-5, atol=1e-6)


@cases()
def test_autocast_does_not_lower_its_precision(case: Case) -> None:
    student, teacher = case.inputs(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = case.loss(student, teacher, LABELS, MASK)
    torch.testing.assert_close(loss, case.loss(student, teacher, LABELS, MASK), rtol=1e-6, atol=1e-6)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@cases()
def test_a_gpu_gives_the_loss_and_gradient_of_the_cpu(case: Case) -> None:
    student, teacher = case.inputs(torch.float32)
    there = student.detach().cuda().requires_grad_()
    loss, loss_there = case.loss(student, teacher, LABELS, MASK), case.loss(there, teacher.cuda(), LABELS.cuda(), MASK.cuda())
    torch.testing.assert_close(loss_there.cpu(), loss, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient(loss_there.sum(), there).cpu(), gradient(loss.sum(), student), rtol=1e-4, atol=1e-5)


@cases()
def test_a_batch_without_a_valid_row_is_a_zero_that_carries_the_graph(case: Case) -> None:
    student, teacher = case.inputs(torch.float32)
    valid = torch.zeros(B, dtype=torch.bool)
    per_row = case.loss(keep(student, valid), keep(teacher, valid), LABELS, keep(MASK, valid))
    loss = valid_sum(per_row, valid)
    assert loss.item() == 0
    assert gradient(loss, student).eq(0).all()


@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
@cases()
def test_what_stands_in_a_masked_row_leaks_nowhere(case: Case, poison: float) -> None:
    clean_student, clean_teacher = case.inputs(torch.float32)
    valid = torch.tensor([True, False, True, True, False])
    outcomes = []
    for value in (0.0, poison):
        student, teacher = (torch.where(valid.reshape(B, *[1] * len(case.shape)), x, value) for x in case.inputs(torch.float32))
        student = student.detach().requires_grad_()
        loss = valid_sum(case.loss(keep(student, valid), keep(teacher, valid), LABELS, MASK), valid)
        outcomes.append((loss, gradient(loss, student)))
    torch.testing.assert_close(outcomes[0], outcomes[1], rtol=0, atol=0)
    alone = case.loss(clean_student[valid], clean_teacher[valid], LABELS[valid], MASK[valid])
    torch.testing.assert_close(outcomes[1][0], alone.sum())
    assert outcomes[1][1][~valid].eq(0).all()


@cases()
def test_a_weight_changes_the_gradient_of_its_row_alone(case: Case) -> None:
    student, teacher = case.inputs()
    valid = torch.ones(B, dtype=torch.bool)
    weight = torch.tensor([1.0, 1.0, 3.0, 1.0, 0.0], dtype=torch.float64)

    def row_gradients(weights: Tensor) -> Tensor:
        return gradient(valid_sum(case.loss(student, teacher, LABELS, MASK) * weights, valid), student).flatten(1)

    plain = row_gradients(torch.ones_like(weight))
    costs = case.loss(student, teacher, LABELS, MASK).ne(0)  # the relation of a single token is the same for every model
    assert plain.abs().sum(1).gt(1e-6)[costs].all()
    assert costs.sum() >= B - 1
    torch.testing.assert_close(row_gradients(weight), plain * weight[:, None])


@cases()
def test_a_row_does_not_see_its_neighbours(case: Case) -> None:
    student, teacher = case.inputs()
    together = case.loss(student, teacher, LABELS, MASK)
    apart = [case.loss(student[i : i + 1], teacher[i : i + 1], LABELS[i : i + 1], MASK[i : i + 1]) for i in range(B)]
    torch.testing.assert_close(torch.cat(apart), together)


@cases("per_token")
def test_padding_enters_neither_loss_nor_gradient(case: Case) -> None:
    student, teacher = case.inputs()
    axes = [axis for axis, size in enumerate(case.shape, start=1) if size == L]
    narrow = case.loss(student, teacher, LABELS, MASK)
    inside = (slice(None), *(slice(L) if axis in axes else slice(None) for axis in range(1, student.dim())))
    padded = []
    for values, fill in ((student.detach(), float("nan")), (teacher, -torch.inf)):
        sizes = [size + 3 if axis in axes else size for axis, size in enumerate(values.shape)]
        larger = torch.full(sizes, fill, dtype=values.dtype)
        larger[inside] = values
        padded.append(larger)
    wide_student = padded[0].requires_grad_()
    wide = case.loss(wide_student, padded[1], LABELS, torch.cat([MASK, torch.zeros(B, 3, dtype=MASK.dtype)], dim=1))
    torch.testing.assert_close(wide, narrow)
    wide_gradient = gradient(wide.sum(), wide_student)
    torch.testing.assert_close(wide_gradient[inside], gradient(narrow.sum(), student))
    wide_gradient[inside] = 0
    assert wide_gradient.eq(0).all()


@cases("per_token")
def test_a_row_without_tokens_costs_nothing(case: Case) -> None:
    student, teacher = case.inputs(torch.float32)
    loss = case.loss(student, teacher, LABELS, torch.zeros_like(MASK))
    assert loss.eq(0).all()
    assert gradient(loss.sum(), student).eq(0).all()


@cases("teacher")
def test_shapes_that_differ_are_refused_instead_of_broadcast(case: Case) -> None:
    student, teacher = case.inputs()
    with pytest.raises(ValueError, match=r"must have (one shape|the shape of)"):
        case.loss(student, teacher[..., :1], LABELS, MASK)


SOFTENING: list[Callable[[Tensor, Tensor, float], Tensor]] = [
    lambda s, t, hot: losses.soft_target_kl(s, t, temperature=hot),
    lambda s, t, hot: losses.bce_kd(s, t, temperature=hot),
    lambda s, t, hot: losses.target_class_kd(s, t, LABELS, temperature=hot),
    lambda s, t, hot: losses.non_target_class_kd(s, t, LABELS, temperature=hot),
    lambda s, t, hot: losses.inter_class_correlation(s, t, temperature=hot),
    lambda s, t, hot: losses.intra_class_correlation(s, t, torch.ones(B), temperature=hot),
]


@pytest.mark.parametrize("loss", SOFTENING)
def test_the_size_of_the_gradient_hardly_depends_on_temperature(loss: Callable[[Tensor, Tensor, float], Tensor]) -> None:
    student, teacher = CASES[1].inputs()
    mild, hot = (gradient(loss(student, teacher, T).sum(), student).norm() for T in (8.0, 64.0))
    # both lie near the limit; a missing T² would make it 1/64, a superfluous one 64
    assert 0.75 < hot / mild < 1.33


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("loss", SOFTENING)
def test_a_temperature_that_is_not_positive_is_refused(
    loss: Callable[[Tensor, Tensor, float], Tensor], temperature: float
) -> None:
    student, teacher = CASES[1].inputs()
    with pytest.raises(ValueError, match="temperature must be > 0"):
        loss(student, teacher, temperature)


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
