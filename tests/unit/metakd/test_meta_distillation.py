"""Meta-distillation: each term by hand, weights of rows, padding, and a teacher that stays as it is."""

from typing import Any

import pytest
import torch
import torch.nn.functional as F

from raykd.errors import DataError
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.meta_distillation import MetaDistillation, PredictionDistillation
from raykd.models import unpad_rows
from raykd.trainers.auxiliary import Composite, split_state
from raykd.trainers.features.encoder_outputs import encoder_outputs
from raykd.trainers.features.feature_kd import PROJECTIONS
from tests.unit.metakd.features import ROWS, gradients, make_batch, make_distillation, make_model, term_norms

EVERYTHING: dict[str, Any] = {"soft_weight": 0.7, "temperature": 2.0, "hard_weight": 0.3}


@pytest.fixture
def pair() -> tuple[Composite, MetaDistillation]:
    return make_distillation(make_model(hidden=8), make_model(hidden=16, layers=4, heads=4, seed=2), **EVERYTHING)


def test_each_term_is_its_formula_for_a_single_row(pair: tuple[Composite, MetaDistillation]) -> None:
    """A row of its full length, so that plain means stand for masked ones."""
    model, objective = pair
    batch = make_batch(rows=1)
    length = int(batch.attention_mask.sum())
    batch = make_batch(rows=1, padded_length=length)
    terms = objective(model, batch).terms
    own = encoder_outputs(model.model, batch.model_inputs(), features=["scores"])
    theirs = encoder_outputs(objective.teacher.model, batch.model_inputs(), features=["scores"])
    maps, heads = model.auxiliary[PROJECTIONS], (model.auxiliary[DOMAIN_HEAD], objective.teacher.row_vectors.head)
    labels, score = batch.labels, batch.extras["weight"]
    right = theirs.logits.softmax(-1)[0, labels[0]]
    factor = (1 + score) / (torch.exp((right - 1) ** 2) + 1)

    def mean_square(left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        return (left - right).square().mean()

    def knowledge(head: Any, hidden: torch.Tensor) -> torch.Tensor:
        row = hidden[:, 1:-1].mean(1) + head.domain_embedding(batch.extras["domain_id"])
        return torch.tanh(row @ head.corrupt_dense.weight.T + head.corrupt_dense.bias)

    expected = {
        "embedding": mean_square(maps["embedding"](own.hidden[0]), theirs.hidden[0]),
        "hidden": mean_square(maps["hidden"](own.hidden[1]), theirs.hidden[2])
        + mean_square(maps["hidden"](own.hidden[2]), theirs.hidden[4]),
        "attention": mean_square(own.attention[0]["scores"].mean(1), theirs.attention[1]["scores"].mean(1))
        + mean_square(own.attention[1]["scores"].mean(1), theirs.attention[3]["scores"].mean(1)),
        "domain": 0.5
        * mean_square(maps["domain"](knowledge(heads[0], own.hidden[-1])), knowledge(heads[1], theirs.hidden[-1])),
        "kd_kl": 0.7 * 4 * F.kl_div((own.logits / 2).log_softmax(-1), (theirs.logits / 2).softmax(-1), reduction="batchmean"),
        "ce": 0.3 * F.cross_entropy(own.logits, labels),
    }
    assert list(terms) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(terms[name], factor * value, msg=lambda text, name=name: f"{name}: {text}")


def test_padding_and_neighbours_change_nothing(pair: tuple[Composite, MetaDistillation]) -> None:
    model, objective = pair
    short, long = make_batch(padded_length=12), make_batch(padded_length=24)
    torch.testing.assert_close(objective(model, short).terms, objective(model, long).terms, rtol=1e-5, atol=1e-6)
    alone = objective(model, make_batch(rows=2, padded_length=16)).per_row
    torch.testing.assert_close(alone, objective(model, short).per_row[:2], rtol=1e-5, atol=1e-6)
    left, right = (gradients(model, objective(model, batch).per_row.sum()) for batch in (short, long))
    torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6)


def test_a_weight_changes_the_gradient_of_its_row_alone(pair: tuple[Composite, MetaDistillation]) -> None:
    """EasyNLP averaged weights over the batch first: any row's weight then changed every row."""
    model, objective = pair
    weights = [0.5] * ROWS
    changed = make_batch(weights=[*weights[:2], 0.9, *weights[3:]])
    for row in range(ROWS):
        before, after = (
            gradients(model, objective(model, batch).per_row[row]) for batch in (make_batch(weights=weights), changed)
        )
        factor = 1.9 / 1.5 if row == 2 else 1.0
        for name, gradient in before.items():
            torch.testing.assert_close(after[name], factor * gradient, rtol=1e-4, atol=1e-7)


def test_the_teacher_is_frozen_in_eval_mode_and_its_target_is_fixed(pair: tuple[Composite, MetaDistillation]) -> None:
    model, objective = pair
    for module in (objective.teacher.model, objective.teacher.row_vectors.head):
        assert module is not None
        assert not module.training
        assert not any(parameter.requires_grad for parameter in module.parameters())
    trained = {name for name, _ in model.named_parameters()}
    assert not any(parameter is other for parameter in model.parameters() for other in objective.teacher.model.parameters())
    assert f"auxiliary.{PROJECTIONS}.domain.weight" in trained
    gradient = gradients(model, objective(model, make_batch()).per_row.sum())
    moved = ("auxiliary.projections.hidden.weight", "auxiliary.domain_head.corrupt_dense.weight", "model.classifier.weight")
    for name in moved:
        assert gradient[name].abs().sum() > 0, name


def test_without_expertise_and_domains_nothing_of_meta_kd_is_read() -> None:
    """TinyBERT's first stage, the baseline."""
    model, objective = make_distillation(
        make_model(), make_model(seed=2), head=False, expertise=False, weights={"attention": 0.5, "embedding": 0.0}
    )
    assert objective.side_columns == ()
    assert not objective.needs_labels
    batch = make_batch()
    plain = objective(model, batch)
    assert list(plain.terms) == ["hidden", "attention"]
    assert not list(model.auxiliary[PROJECTIONS].parameters()), "equal widths need no projection"


def test_weights_may_leave_the_domain_term_alone(pair: tuple[Composite, MetaDistillation]) -> None:
    import dataclasses

    model, objective = pair
    other = dataclasses.replace(objective, expertise_on_domain=False)
    batches = [make_batch(weights=[value] * ROWS) for value in (0.1, 0.9)]
    low, high = (other(model, batch).terms for batch in batches)
    torch.testing.assert_close(low["domain"], high["domain"])
    assert not torch.allclose(low["hidden"], high["hidden"])


def test_stage_second_is_weighted_soft_targets() -> None:
    model, batch = make_model(), make_batch()
    assert batch.teacher_logits is not None
    terms = PredictionDistillation(temperature=2.0, hard_weight=0.5, expertise=True)(model, batch).terms
    logits = model(**batch.model_inputs()).logits
    kl = F.kl_div((logits / 2).log_softmax(-1), (batch.teacher_logits / 2).softmax(-1), reduction="none").sum(-1)
    right = batch.teacher_logits.softmax(-1)[torch.arange(ROWS), batch.labels]
    factor = (1 + batch.extras["weight"]) / (torch.exp((right - 1) ** 2) + 1)
    torch.testing.assert_close(terms["kd_kl"], factor * 4 * kl)
    torch.testing.assert_close(terms["ce"], factor * 0.5 * F.cross_entropy(logits, batch.labels, reduction="none"))
    plain = PredictionDistillation()
    assert plain.side_columns == ("logits",)
    assert not plain.needs_labels
    assert list(plain(model, batch).terms) == ["kd_kl"]


def test_a_missing_column_is_named(pair: tuple[Composite, MetaDistillation]) -> None:
    import dataclasses

    model, objective = pair
    with pytest.raises(DataError, match="column 'domain_id'"):
        objective(model, dataclasses.replace(make_batch(), extras={}))


def test_an_empty_slice_carries_the_graph(pair: tuple[Composite, MetaDistillation]) -> None:
    model, objective = pair
    loss = objective(model, make_batch(rows=0)).per_row.sum()
    assert loss.item() == 0
    assert all(gradient.isfinite().all() for gradient in gradients(model, loss).values())


def test_state_is_split_into_the_model_and_what_is_beside_it(pair: tuple[Composite, MetaDistillation]) -> None:
    model, objective = pair
    own, auxiliary = split_state(model.state_dict().items(), objective.trainable)
    assert own.keys() == model.model.state_dict().keys()
    assert {name: set(state) for name, state in auxiliary.items()} == {
        name: set(module.state_dict()) for name, module in objective.trainable.items()
    }


def test_gradient_norms_of_terms_are_the_same_without_padding() -> None:
    student, teacher = make_model(hidden=8), make_model(hidden=16, layers=4, heads=4, seed=2)
    model, objective = make_distillation(student, teacher, weights={"attention": 0.0}, **EVERYTHING)
    padded = term_norms(objective, model)
    for one in (student, teacher):
        unpad_rows(one)
    unpadded = term_norms(objective, model, unpadded=True)
    torch.testing.assert_close(unpadded, padded)
    assert len(unpadded) > 3
    assert (unpadded > 0).all()
