"""Objectives over real batches: formulas, what they read, schedules, and independence from padding and batch plan."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
import torch.nn.functional as F
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from raykd.data.batch import Batch, collate
from raykd.errors import DataError
from raykd.losses import non_target_class_kd, target_class_kd
from raykd.models import build_classifier
from raykd.task_kinds import task_kind
from raykd.trainers.fine_tune import FineTune
from raykd.trainers.logit_kd import DecoupledKD, DistKD, MseKD, VanillaKD
from raykd.trainers.objective import Objective, ObjectiveOutput, check_columns
from raykd.trainers.phases import PhasedObjective

ROWS, CLASSES, VOCABULARY = 7, 3, 40
SINGLE_LABEL: list[Objective] = [
    FineTune(),
    VanillaKD(temperature=3.0, alpha=0.3),
    VanillaKD(temperature=4.0, final_temperature=1.0, alpha=1.0, final_alpha=0.2).at(0.6),
    MseKD(alpha=0.7),
    DecoupledKD(temperature=2.0, alpha=0.4, target_weight=0.5, non_target_weight=4.0),
    DistKD(alpha=0.6, intra_weight=0.0),
]
MANY = task_kind("multi_label")
MULTI_LABEL: list[Objective] = [FineTune(MANY), VanillaKD(kind=MANY, temperature=2.0, alpha=0.4)]
WHOLE_BATCH: list[Objective] = [DistKD(alpha=0.6)]
ROW_WISE = [*SINGLE_LABEL, *MULTI_LABEL]
EVERY = [*ROW_WISE, *WHOLE_BATCH]
KINDS = pytest.mark.parametrize("objective", EVERY, ids=lambda objective: type(objective).__name__)


class BagOfTokens(nn.Module):
    """Mean of token embeddings to logits: the smallest classifier that padding must not enter."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embedding = nn.Embedding(VOCABULARY, 8)
            self.head = nn.Linear(8, CLASSES)

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor | None = None) -> SimpleNamespace:
        weights = attention_mask / attention_mask.sum(1, keepdim=True)
        return SimpleNamespace(logits=self.head((self.embedding(input_ids) * weights[..., None]).sum(1)))


class Constant(nn.Module):
    """A model that always says the same."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, **_: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits)


def make_table(objective: Objective, *, rows: int = ROWS, seed: int = 1) -> pa.Table:
    """Rows of 1 to 12 tokens with teacher logits, and labels as the objective wants them."""
    draw = np.random.default_rng(seed)
    tokens = [draw.integers(1, VOCABULARY, draw.integers(1, 13)).tolist() for _ in range(rows)]
    logits = pa.array((3 * draw.standard_normal(rows * CLASSES)).astype(np.float32))
    if objective.kind is MANY:
        labels = pa.FixedSizeListArray.from_arrays(pa.array(draw.integers(0, 2, rows * CLASSES), pa.int32()), CLASSES)
    else:
        labels = pa.array(draw.integers(0, CLASSES, rows), pa.int32())
    return pa.table(
        {
            "shard": pa.array([0] * rows, pa.int32()),
            "row": pa.array(range(rows), pa.int64()),
            "input_ids": pa.array(tokens, pa.list_(pa.int32())),
            "label": labels,
            "logits": pa.FixedSizeListArray.from_arrays(logits, CLASSES),
        }
    )


def make_batch(table: pa.Table, padded_length: int = 16) -> Batch:
    return collate(table, padded_length=padded_length, pad_token_id=0, with_token_types=False)


def gradients(model: nn.Module, losses: Sequence[Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    for loss in losses:
        loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def run(objective: Objective, table: pa.Table | None = None) -> ObjectiveOutput:
    return objective(BagOfTokens(), make_batch(make_table(objective) if table is None else table))


def replaced(batch: Batch, **fields: object) -> Batch:
    return Batch(**{**vars(batch), **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(("temperature", "alpha"), [(1.0, 0.2), (10.0, 0.25), (2.5, 0.0)])
def test_vanilla_kd_is_easynlps_formula(temperature: float, alpha: float) -> None:
    objective = VanillaKD(temperature=temperature, alpha=alpha)
    batch, model = make_batch(make_table(objective)), BagOfTokens()
    student, teacher = model(**batch.model_inputs()).logits, batch.teacher_logits
    kd = F.kl_div(F.log_softmax(student / temperature, -1), F.softmax(teacher / temperature, -1), reduction="batchmean")
    easynlp = alpha * temperature**2 * kd + (1 - alpha) * F.cross_entropy(student, batch.labels)
    ours = objective(model, batch).per_row.sum() / ROWS
    torch.testing.assert_close(ours, easynlp, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(gradients(model, [ours]), gradients(model, [easynlp]), rtol=1e-5, atol=1e-7)


def test_decoupled_kd_at_alpha_one_half_is_half_the_papers_loss() -> None:
    objective = DecoupledKD(temperature=4.0, alpha=0.5, target_weight=1.0, non_target_weight=8.0)
    batch, model = make_batch(make_table(objective)), BagOfTokens()
    student = model(**batch.model_inputs()).logits
    assert batch.teacher_logits is not None
    assert batch.labels is not None
    parts = [
        loss(student, batch.teacher_logits, batch.labels, temperature=4.0) for loss in (target_class_kd, non_target_class_kd)
    ]
    paper = F.cross_entropy(student, batch.labels, reduction="none") + parts[0] + 8 * parts[1]
    torch.testing.assert_close(2 * objective(model, batch).per_row, paper)


def test_fine_tuning_is_the_mean_cross_entropy_and_binary_cross_entropy() -> None:
    for objective, reference in (
        (FineTune(), F.cross_entropy),
        (FineTune(MANY), lambda logits, labels: F.binary_cross_entropy_with_logits(logits, labels.float())),
    ):
        batch, model = make_batch(make_table(objective)), BagOfTokens()
        expected = reference(model(**batch.model_inputs()).logits, batch.labels)
        torch.testing.assert_close(objective(model, batch).per_row.mean(), expected)


@pytest.mark.parametrize(
    ("objective", "terms"),
    [
        (FineTune(), ["ce"]),
        (FineTune(MANY), ["bce"]),
        (VanillaKD(), ["kd_kl", "ce"]),
        (MseKD(), ["kd_mse", "ce"]),
        (VanillaKD(kind=MANY), ["kd_bce", "bce"]),
        (DecoupledKD(), ["kd_target", "kd_non_target", "ce"]),
        (DistKD(), ["kd_inter", "kd_intra", "ce"]),
        (DistKD(intra_weight=0), ["kd_inter", "ce"]),
        (DistKD(inter_weight=0, alpha=1), ["kd_intra"]),
        (VanillaKD(alpha=1), ["kd_kl"]),
    ],
)
def test_terms_have_names_and_add_up(objective: Objective, terms: list[str]) -> None:
    output = run(objective)
    assert list(output.terms) == terms
    assert all(term.shape == (ROWS,) and term.dtype == torch.float32 for term in output.terms.values())
    torch.testing.assert_close(output.per_row, sum(output.terms.values()))


@pytest.mark.parametrize("make", [VanillaKD, MseKD, DecoupledKD, DistKD])
def test_alpha_weighs_the_teachers_terms_and_the_labels_have_the_rest(make: Callable[..., Objective]) -> None:
    half, quarter = run(make(alpha=0.5)).terms, run(make(alpha=0.25)).terms
    for name in half:
        factor = 0.5 if name.startswith("kd_") else 1.5
        torch.testing.assert_close(quarter[name], factor * half[name])


@pytest.mark.parametrize(
    "objective", [VanillaKD(alpha=1), MseKD(alpha=1), VanillaKD(kind=MANY, alpha=1, final_alpha=1), DistKD(alpha=1)]
)
def test_alpha_one_reads_no_labels(objective: Objective) -> None:
    assert not objective.needs_labels
    table, model = make_table(objective), BagOfTokens()
    unlabelled = objective(model, make_batch(table.drop_columns("label")))
    impossible = replaced(make_batch(table), labels=torch.full((ROWS,), -7))
    torch.testing.assert_close(objective(model, impossible).terms, unlabelled.terms, rtol=0, atol=0)
    assert unlabelled.per_row.requires_grad


@pytest.mark.parametrize(
    "objective",
    [FineTune(), FineTune(MANY), VanillaKD(), VanillaKD(alpha=1, final_alpha=0.9), DecoupledKD(alpha=1), DistKD()],
)
def test_labels_that_are_needed_and_missing_are_an_error(objective: Objective) -> None:
    assert objective.needs_labels
    with pytest.raises(DataError, match="needs labels"):
        run(objective, make_table(objective).drop_columns("label"))


@pytest.mark.parametrize("objective", [VanillaKD(), MseKD(), VanillaKD(kind=MANY), DecoupledKD(), DistKD()])
def test_teacher_logits_that_are_missing_are_an_error(objective: Objective) -> None:
    assert objective.side_columns == ("logits",)
    with pytest.raises(DataError, match="without teacher logits"):
        run(objective, make_table(objective).drop_columns("logits"))


def test_what_an_objective_does_not_say_has_a_default() -> None:
    objective = FineTune()
    assert objective.at(0.5) is objective
    assert objective.side_columns == ()
    assert not objective.trainable
    objective.check(num_labels=2, whole_batch=False)


def test_schedules_follow_the_progress_and_leave_the_objective_as_it_was() -> None:
    moving = VanillaKD(temperature=4.0, final_temperature=1.0, alpha=0.9, final_alpha=0.1)
    for progress, level in (
        (0.0, VanillaKD(temperature=4.0, alpha=0.9)),
        (0.5, VanillaKD(temperature=2.5, alpha=0.5)),
        (1.0, VanillaKD(temperature=1.0, alpha=0.1)),
    ):
        torch.testing.assert_close(run(moving.at(progress)).terms, run(level).terms)
        assert moving.at(progress).at(0.0) == moving
    torch.testing.assert_close(run(moving).terms, run(moving.at(0.0)).terms)


def test_a_schedule_keeps_its_terms_and_needs_where_a_weight_touches_zero() -> None:
    moving = VanillaKD(alpha=1.0, final_alpha=0.0)
    for progress in (0.0, 0.5, 1.0):
        assert moving.at(progress).needs_labels
        assert list(run(moving.at(progress)).terms) == ["kd_kl", "ce"]
    assert run(moving.at(0.0)).terms["ce"].eq(0).all()


@KINDS
def test_an_empty_slice_is_a_zero_to_run_backward_on(objective: Objective) -> None:
    model = BagOfTokens()
    output = objective(model, make_batch(make_table(objective).slice(0, 0)))
    assert output.per_row.tolist() == [0]
    assert all(gradient.eq(0).all() for gradient in gradients(model, [output.per_row.sum()]).values())


@KINDS
@pytest.mark.filterwarnings("ignore:Anomaly Detection")
def test_a_row_that_is_not_valid_leaks_nowhere(objective: Objective) -> None:
    table = make_table(objective)
    batch, valid, third = make_batch(table), torch.arange(ROWS) != 2, torch.tensor([2])
    logits = BagOfTokens()(**batch.model_inputs()).logits.detach()
    assert batch.teacher_logits is not None
    assert batch.labels is not None
    poisoned = replaced(
        batch,
        valid=valid,
        teacher_logits=batch.teacher_logits.index_fill(0, third, float("nan")),
        labels=batch.labels.index_fill(0, third, -1),
    )
    student = logits.index_fill(0, third, float("nan")).requires_grad_()
    others = logits[valid].requires_grad_()
    output = objective(Constant(student), poisoned)
    with torch.autograd.detect_anomaly():  # not even on the way back, where a later mask would hide it
        output.per_row.sum().backward()
    expected = objective(Constant(others), make_batch(pa.concat_tables([table.slice(0, 2), table.slice(3)])))
    expected.per_row.sum().backward()
    torch.testing.assert_close(output.per_row[valid], expected.per_row)
    assert output.per_row[2] == 0
    assert student.grad is not None
    torch.testing.assert_close(student.grad[valid], others.grad)
    assert student.grad[2].eq(0).all()


@KINDS
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_logits_give_fp32_terms(objective: Objective, dtype: torch.dtype) -> None:
    batch, model = make_batch(make_table(objective)), BagOfTokens()
    logits = model(**batch.model_inputs()).logits.to(dtype)
    half, rounded = (objective(Constant(values), batch) for values in (logits, logits.float()))
    assert half.per_row.dtype == torch.float32
    torch.testing.assert_close(half.terms, rounded.terms, rtol=0, atol=0)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    cuts=st.lists(st.integers(0, ROWS), max_size=3),
    paddings=st.lists(st.sampled_from([12, 16, 24]), min_size=4, max_size=4),
    order=st.permutations(range(ROWS)),
)
@pytest.mark.parametrize("objective", ROW_WISE, ids=lambda objective: type(objective).__name__)
def test_gradients_depend_on_neither_padding_nor_batch_plan(
    objective: Objective, cuts: list[int], paddings: list[int], order: list[int]
) -> None:
    table, model = make_table(objective), BagOfTokens()
    whole = gradients(model, [objective(model, make_batch(table)).per_row.sum()])
    bounds = [0, *sorted(cuts), ROWS]
    shuffled = table.take(order)
    parts = [
        objective(model, make_batch(shuffled.slice(start, stop - start), padding)).per_row.sum()
        for start, stop, padding in zip(bounds[:-1], bounds[1:], paddings, strict=False)
    ]
    torch.testing.assert_close(gradients(model, parts), whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("objective", WHOLE_BATCH, ids=lambda objective: type(objective).__name__)
def test_a_whole_batchs_gradients_depend_on_neither_padding_nor_order(objective: Objective) -> None:
    table, model = make_table(objective), BagOfTokens()
    narrow, wide = make_batch(table, 12), make_batch(table.take(list(reversed(range(ROWS)))), 24)
    first, second = (gradients(model, [objective(model, batch).per_row.sum()]) for batch in (narrow, wide))
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_real_backbones_give_the_same_gradients_under_two_paddings_and_plans(architecture: str) -> None:
    model = build_classifier(
        architecture, vocab_size=VOCABULARY, hidden=16, layers=2, heads=2, labels=("a", "b", "c"), seed=1, positions=32
    ).eval()  # type: ignore[arg-type]
    for objective in SINGLE_LABEL:
        table = make_table(objective)
        whole = gradients(model, [objective(model, make_batch(table, 16)).per_row.sum()])
        parts = [objective(model, make_batch(table.slice(start, 3), 24)).per_row.sum() for start in (0, 3, 6)]
        torch.testing.assert_close(gradients(model, parts), whole, rtol=1e-3, atol=1e-5)


KD_ROWS: list[Objective] = [VanillaKD(alpha=0.3, temperature=3.0), MseKD(alpha=0.7), VanillaKD(kind=MANY, alpha=0.4)]


@pytest.mark.parametrize("objective", KD_ROWS, ids=lambda objective: type(objective).__name__)
def test_rows_without_a_label_have_the_teachers_terms_alone(objective: Objective) -> None:
    table = make_table(objective)
    known = np.arange(ROWS) % 3 == 0
    mixed = objective(BagOfTokens(), make_batch(table.append_column("labelled", pa.array(known))))
    labelled, teacher = run(objective), run(replace(objective, alpha=1.0))  # type: ignore[type-var]
    kept = torch.from_numpy(known)
    torch.testing.assert_close(mixed.per_row, torch.where(kept, labelled.per_row, teacher.per_row))
    for name, term in mixed.terms.items():
        if not name.startswith("kd_"):
            assert term[~kept].eq(0).all()


def test_zeros_in_the_place_of_labels_reach_no_gradient() -> None:
    objective = VanillaKD(alpha=0.3)
    table = make_table(objective).append_column("labelled", pa.array([False] * ROWS))
    model, batch = BagOfTokens(), make_batch(table)
    first = gradients(model, [objective(model, batch).per_row.sum()])
    other = replaced(batch, labels=torch.full((ROWS,), 2))
    torch.testing.assert_close(gradients(model, [objective(model, other).per_row.sum()]), first, rtol=0, atol=0)


def test_objectives_state_whether_they_take_rows_without_a_label() -> None:
    columns = {"label", "labelled", "logits"}
    for objective in (VanillaKD(), MseKD(), DistKD(), PhasedObjective(((0.0, VanillaKD()), (0.5, MseKD())))):
        check_columns(objective, columns)
    for objective in (FineTune(), DecoupledKD(alpha=1), PhasedObjective(((0.0, VanillaKD()), (0.5, FineTune())))):
        with pytest.raises(DataError, match="needs the label of every row"):
            check_columns(objective, columns)
