"""Contract of every objective: names of terms, labels, padding, batch plans, invalid rows, half precision."""

import pyarrow as pa
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raykd.errors import DataError
from raykd.models import ModelShape, build_classifier
from raykd.trainers.fine_tune import FineTune
from raykd.trainers.logit_kd import DecoupledKD, DistKD, MseKD, PseudoLabel, VanillaKD
from raykd.trainers.objective import Objective, check_columns
from raykd.trainers.phases import PhasedObjective
from tests.unit.trainers.objective_cases import (
    KINDS,
    MANY,
    ROW_WISE,
    ROWS,
    SINGLE_LABEL,
    VOCABULARY,
    WHOLE_BATCH,
    BagOfTokens,
    Constant,
    gradients,
    make_batch,
    make_table,
    replaced,
    run,
)


@pytest.mark.parametrize(
    ("objective", "terms"),
    [
        (FineTune(), ["ce"]),
        (FineTune(MANY), ["bce"]),
        (VanillaKD(), ["kd_kl", "ce"]),
        (MseKD(), ["kd_mse", "ce"]),
        (VanillaKD(kind=MANY), ["kd_bce", "bce"]),
        (PseudoLabel(), ["kd_pseudo", "ce"]),
        (PseudoLabel(kind=MANY), ["kd_pseudo", "bce"]),
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


@pytest.mark.parametrize(
    "objective",
    [FineTune(), FineTune(MANY), VanillaKD(), VanillaKD(alpha=1, final_alpha=0.9), DecoupledKD(alpha=1), DistKD()],
)
def test_labels_that_are_needed_and_missing_are_an_error(objective: Objective) -> None:
    assert objective.needs_labels
    with pytest.raises(DataError, match="needs labels"):
        run(objective, make_table(objective).drop_columns("label"))


def test_what_an_objective_does_not_say_has_a_default() -> None:
    objective = FineTune()
    assert objective.at(0.5) is objective
    assert objective.side_columns == ()
    assert not objective.trainable
    objective.check(num_labels=2, whole_batch=False)


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


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
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
    shape = ModelShape(architecture=architecture, vocab_size=VOCABULARY, hidden=16, layers=2, heads=2, positions=32)
    model = build_classifier(shape, labels=("a", "b", "c"), seed=1).eval()  # type: ignore[arg-type]  # an architecture by name
    for objective in SINGLE_LABEL:
        table = make_table(objective)
        whole = gradients(model, [objective(model, make_batch(table, 16)).per_row.sum()])
        parts = [objective(model, make_batch(table.slice(start, 3), 24)).per_row.sum() for start in (0, 3, 6)]
        torch.testing.assert_close(gradients(model, parts), whole, rtol=1e-3, atol=1e-5)


def test_objectives_state_whether_they_take_rows_without_a_label() -> None:
    columns = {"label", "labelled", "logits"}
    for objective in (VanillaKD(), MseKD(), DistKD(), PhasedObjective(((0.0, VanillaKD()), (0.5, MseKD())))):
        check_columns(objective, columns)
    for objective in (FineTune(), DecoupledKD(alpha=1), PhasedObjective(((0.0, VanillaKD()), (0.5, FineTune())))):
        with pytest.raises(DataError, match="needs the label of every row"):
            check_columns(objective, columns)
