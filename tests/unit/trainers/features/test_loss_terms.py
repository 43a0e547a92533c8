"""The terms of feature distillation: each one by its formula, with its gradient, and their table complete."""

import dataclasses
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from raykd.config.features import FeatureLossConfig
from raykd.trainers.auxiliary import Composite
from raykd.trainers.features import loss_terms
from raykd.trainers.features.encoder_outputs import TOKEN_AXES, encoder_outputs
from raykd.trainers.features.feature_kd import PROJECTIONS, FeatureKD
from raykd.trainers.features.loss_terms import LOSS_TERMS, LossTerm
from raykd.trainers.logit_kd import VanillaKD
from tests.unit.metakd.features import gradients, make_batch, make_losses, make_model, make_teacher
from tests.unit.trainers.features.objectives import made
from tests.unit.trainers.features.teachers import cached

ONLY_RELATION = {"embedding": 0.0, "hidden": 0.0, "attention": 0.0, "relation": 0.7}


def relation_reference(model: Any, teacher: Any, batch: Any, pairs: Any, heads: int) -> Tensor:
    """Queries, keys and values from the layers' own projections, one row and head at a time."""

    def vectors(one: Any, layer: int) -> list[Tensor]:
        hidden = one(**batch.model_inputs(), output_hidden_states=True).hidden_states[layer - 1]
        own = one.bert.encoder.layer[layer - 1].attention.self
        return [own.query(hidden), own.key(hidden), own.value(hidden)]

    rows = []
    for row, length in enumerate(batch.attention_mask.sum(1).tolist()):
        total = torch.zeros(())
        for mine, other in pairs:
            for own, theirs in zip(vectors(model, mine), vectors(teacher, other), strict=True):
                logs = []
                for one in (own, theirs):
                    split = one[row, :length].reshape(length, heads, -1)
                    logs.append(torch.log_softmax(torch.einsum("ihd,jhd->hij", split, split) / split.shape[-1] ** 0.5, -1))
                total = total + F.kl_div(logs[0], logs[1], reduction="sum", log_target=True) / (3 * heads * length)
        rows.append(total)
    return torch.stack(rows)


@pytest.mark.parametrize("heads", [1, 2, 8])
def test_the_relation_term_and_its_gradient_are_those_of_a_reference(heads: int) -> None:
    model, objective = made(**ONLY_RELATION, relation_heads=heads)
    batch = make_batch()
    ours = objective(model, batch).terms
    assert list(ours) == ["relation"]
    expected = 0.7 * relation_reference(model.model, objective.teacher.model, batch, objective.losses.layers, heads)
    torch.testing.assert_close(ours["relation"], expected, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(gradients(model, ours["relation"].sum()), gradients(model, expected.sum()), rtol=1e-3, atol=1e-6)
    assert not list(model.auxiliary.parameters()), "a relation needs no projection"


def test_a_student_equal_to_its_teacher_has_nothing_to_learn() -> None:
    student, teacher = make_model(), make_model()
    losses = make_losses(student, teacher, relation=1.0)
    objective = FeatureKD(
        teacher=make_teacher(student, teacher, losses), losses=losses, auxiliary={PROJECTIONS: torch.nn.ModuleDict()}
    )
    terms = objective(Composite(student, objective.trainable), make_batch()).terms
    assert list(terms) == ["embedding", "hidden", "attention", "relation"]
    for name, term in terms.items():
        torch.testing.assert_close(term, torch.zeros_like(term), atol=1e-5, rtol=0, msg=name)


def test_padding_and_neighbours_change_nothing() -> None:
    model, objective = made(relation=1.0)
    short, long = make_batch(padded_length=12), make_batch(padded_length=24)
    torch.testing.assert_close(objective(model, short).terms, objective(model, long).terms, rtol=1e-4, atol=1e-5)
    alone = objective(model, make_batch(rows=2)).per_row
    torch.testing.assert_close(alone, objective(model, short).per_row[:2], rtol=1e-4, atol=1e-5)


def test_the_last_layer_alone_takes_part_with_layers_last() -> None:
    model, objective = made(layers="last", embedding=0.0, attention=0.0, relation=0.0)
    batch = make_batch()
    outputs = [
        encoder_outputs(one, batch.model_inputs(), features=["hidden"]) for one in (model.model, objective.teacher.model)
    ]
    mapped = model.auxiliary[PROJECTIONS]["hidden"](outputs[0].hidden[2])  # type: ignore[index, operator]  # a dictionary of modules
    mask = batch.attention_mask
    squared = ((mapped - outputs[1].hidden[4]).square().mean(-1) * mask).sum(1) / mask.sum(1)
    torch.testing.assert_close(objective(model, batch).terms["hidden"], squared)


def test_a_joined_logit_objective_adds_its_own_terms_in_one_forward_pass() -> None:
    logits = VanillaKD(alpha=0.4, temperature=3.0, final_alpha=0.9)
    model, objective = made(logit_objective=logits, relation=1.0)
    plain_model, plain = made(relation=1.0)
    batch, calls = make_batch(), []
    model.model.register_forward_hook(lambda *_: calls.append(1))
    terms = objective.at(0.5)(model, batch).terms
    assert len(calls) == 1
    assert list(terms) == ["embedding", "hidden", "attention", "relation", "kd_kl", "ce"]
    expected = plain(plain_model, batch).terms | logits.at(0.5)(plain_model.model, batch).terms
    torch.testing.assert_close(terms, expected)
    torch.testing.assert_close(
        gradients(model, objective.at(0.5)(model, batch).per_row.sum()),
        gradients(plain_model, sum(expected.values(), torch.zeros(())).sum()),
        rtol=1e-4, atol=1e-6,
    )  # fmt: skip
    assert objective.side_columns == ("logits",)
    assert objective.needs_labels
    assert plain.side_columns == ()
    assert not plain.needs_labels


def test_every_term_has_a_weight_in_the_configuration_and_reads_features_that_are_captured() -> None:
    weights = {name.removesuffix("_weight") for name in FeatureLossConfig.model_fields if name.endswith("_weight")}
    assert weights == set(LOSS_TERMS)
    assert {feature for term in LOSS_TERMS.values() for feature in term.features} == set(TOKEN_AXES)


def test_a_term_from_outside_serves_live_and_stored_teachers(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss, an entry of the table and a weight are all that a new term needs."""

    def cosine(student: Any, teacher: Any, mask: Tensor, settings: Any) -> Tensor:
        distance = 1 - torch.cosine_similarity(student[0], teacher[0], dim=-1)
        return (distance * mask).sum(1) / mask.sum(1)

    monkeypatch.setattr(loss_terms, "LOSS_TERMS", LOSS_TERMS | {"cosine": LossTerm(("hidden",), cosine, projected=True)})
    model, objective = made(embedding=0.0, hidden=0.0, attention=0.0, cosine=0.5)
    batch = make_batch()
    live = objective(model, batch).terms
    assert list(live) == ["cosine"]
    assert live["cosine"].min() > 0
    assert len(list(model.auxiliary.parameters())) == 1
    stored = dataclasses.replace(objective, teacher=cached(objective))
    torch.testing.assert_close(stored(model, batch).terms, live)
