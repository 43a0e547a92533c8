"""Classifiers with modules beside them (domain head, projections) under every engine, on one rank and on two."""

from typing import Any

import numpy as np
import pytest
import torch.distributed as dist
from torch import nn

from raykd.metakd.meta_teacher import MetaTeacher
from raykd.trainers.auxiliary import with_modules
from raykd.trainers.logit_kd import VanillaKD
from raykd.trainers.objective import Objective
from tests.distributed.tiny_training import KINDS, MAX_GRAD_NORM, State, full_state, gradients, make_engine, rate, weights
from tests.helpers import run_distributed
from tests.unit.metakd.features import ROWS, make_batch, make_distillation, make_head, make_model
from tests.unit.trainers.features.objectives import made
from tests.unit.trainers.features.teachers import part

OBJECTIVES = ("meta_teacher", "meta_distillation", "feature_kd")
SLICES: dict[int, list[list[list[int]]]] = {1: [[[0, 1, 2], [3, 4, 5]]], 2: [[[0, 1], [2, 3, 4]], [[5], []]]}
"""World size and rank to the rows of the micro-batches of a step; the second rank has one row, then none."""
STEPS = 3
Results = dict[str, dict[str, dict[str, Any]]]


def pieces(name: str) -> tuple[nn.Module, Objective]:
    """Model to train, and its objective; every weight is used."""
    if name == "meta_teacher":
        objective: Objective = MetaTeacher(head=make_head(16, seed=8), weigh_domain_loss=True)
        return with_modules(make_model(), objective.trainable), objective
    student, teacher = make_model(hidden=8), make_model(hidden=16, layers=4, heads=4, seed=2)
    if name == "feature_kd":
        return made(logit_objective=VanillaKD(), relation=10.0)
    return make_distillation(student, teacher, soft_weight=0.7, hard_weight=0.3)


def body() -> Results:
    return {kind: {name: trained(kind, name) for name in OBJECTIVES} for kind in KINDS}


def trained(kind: str, name: str) -> dict[str, Any]:
    model, objective = pieces(name)
    engine = make_engine(kind, module=model)
    seen: dict[str, Any] = {"gradients": [], "norms": []}
    slices = SLICES[dist.get_world_size()][dist.get_rank()]
    for step in range(STEPS):
        for number, rows in enumerate(slices, start=1):
            batch = part(make_batch(), rows) if rows else make_batch(rows=0)
            loss = objective(engine.model, batch).per_row.sum() * dist.get_world_size() / ROWS
            engine.accumulate(loss, boundary=number == len(slices))
        seen["norms"].append(float(engine.reduce_gradients()))
        seen["gradients"].append(gradients(engine))
        engine.step(rate(step), max_grad_norm=MAX_GRAD_NORM)
    seen |= {"end": weights(engine), "state": full_state(engine)}
    engine.close()
    return seen


@pytest.fixture(scope="module")
def plain() -> dict[str, list[State]]:
    """Gradients of the first step: whole batch, no engine."""
    found = {}
    for name in OBJECTIVES:
        model, objective = pieces(name)
        (objective(model, make_batch()).per_row.sum() / ROWS).backward()
        found[name] = {key: value.grad.numpy() for key, value in model.named_parameters() if value.grad is not None}
    return found


@pytest.fixture(
    scope="module", params=[pytest.param(1, marks=pytest.mark.long), 2]
)  # one rank of every engine is in test_engines.py
def ranks(request: pytest.FixtureRequest) -> list[Results]:
    return run_distributed(body, request.param)


def close(actual: State, expected: State, tolerance: float) -> None:
    for name, value in expected.items():
        np.testing.assert_allclose(actual[name], value, rtol=1e-4, atol=tolerance, err_msg=name)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_equal_one_process(kind: str, name: str, ranks: list[Results], plain: dict[str, State]) -> None:
    """Those of the modules beside the model too; a lost factor would be off by far more."""
    assert (name != "feature_kd") == any("domain_head" in key for key in plain[name])
    assert (name == "meta_teacher") != any("projections" in key for key in plain[name])
    for rank in ranks:
        close(rank[kind][name]["gradients"][0], plain[name], 1e-6)
        assert rank[kind][name]["norms"] == pytest.approx(ranks[0]["torch"][name]["norms"], rel=1e-4)


@pytest.mark.parametrize("name", OBJECTIVES)
@pytest.mark.parametrize("kind", KINDS)
def test_weights_and_moments_equal_those_of_plain_torch(kind: str, name: str, ranks: list[Results]) -> None:
    ours, torchs = ranks[0][kind][name], ranks[0]["torch"][name]
    assert sorted(ours["end"]) == sorted(torchs["end"])
    close(ours["end"], torchs["end"], 1e-5)
    close(ours["state"], torchs["state"], 1e-5)
