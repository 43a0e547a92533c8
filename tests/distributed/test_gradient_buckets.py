"""Buckets are reduced during the backward pass, in one order on all ranks, and give the mean of the gradients."""

import math
from typing import Any
from unittest import mock

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from raykd.trainers.engines.gradient_buckets import BUCKET_ELEMENTS, GradientBuckets
from tests.distributed.tiny_training import make_engine
from tests.helpers import run_distributed

WIDTH = 3
CASES = ((1, ()), (3, ()), (1, (0,)), (2, (0, 1, 2, 3)))
"""Micro-batches of a step, and the ranks whose rows leave a layer out."""


class Branches(nn.Module):
    """Two layers, of which one may be left out."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(WIDTH, WIDTH)
        self.sometimes = nn.Linear(WIDTH, WIDTH)
        self.last = nn.Linear(WIDTH, WIDTH)

    def forward(self, values: Tensor, *, short: bool) -> Tensor:
        hidden = torch.tanh(self.first(values))
        return self.last(hidden if short else hidden + self.sometimes(hidden)).square().sum()


def reduced(model: Branches, *, micro_batches: int, short_on: tuple[int, ...]) -> dict[str, Any]:
    """Gradients after a step, and how many of the buckets were under way when the backward pass ended."""
    rank, world = dist.get_rank(), dist.get_world_size()
    parameters = list(model.parameters())
    buckets = GradientBuckets(parameters, world_size=world, elements=WIDTH * WIDTH)
    for number in range(micro_batches):
        rows = torch.full((2, WIDTH), 0.1 * (rank + 1) + number)
        if number == micro_batches - 1:
            buckets.expect_last_backward()
        model(rows, short=rank in short_on).backward()
        under_way = len(buckets._work)
        if number < micro_batches - 1:
            assert not under_way
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    buckets.finish()
    buckets.close()
    found = {name: parameter.grad.numpy().copy() for name, parameter in model.named_parameters()}
    model.zero_grad()
    return {"gradients": found, "under_way": under_way, "buckets": 6}


def body() -> list[dict[str, Any]]:
    torch.manual_seed(0)
    model = Branches()
    return [reduced(model, micro_batches=count, short_on=short) for count, short in CASES]


def expected(world: int, *, micro_batches: int, short_on: tuple[int, ...]) -> dict[str, Any]:
    """The mean over the ranks, in one process."""
    torch.manual_seed(0)
    model = Branches()
    for rank in range(world):
        for number in range(micro_batches):
            (model(torch.full((2, WIDTH), 0.1 * (rank + 1) + number), short=rank in short_on) / world).backward()
    return {name: (0 * p if p.grad is None else p.grad).detach().numpy() for name, p in model.named_parameters()}


@pytest.mark.parametrize("world", [2, 4])
def test_gradients_are_the_mean_and_reduced_while_backward_runs(world: int) -> None:
    ranks = run_distributed(body, world)
    for index, (count, short) in enumerate(CASES):
        wanted = expected(world, micro_batches=count, short_on=short)
        for rank in ranks:
            for name, gradient in rank[index]["gradients"].items():
                torch.testing.assert_close(gradient, wanted[name], rtol=1e-5, atol=1e-6)
    for rank in ranks:
        assert [rank[index]["under_way"] for index in (0, 1)] == [rank[0]["buckets"]] * 2
        assert rank[3]["under_way"] == 2, "the last layer's; the others wait for the layer that no rank used"
    assert ranks[0][2]["under_way"] < ranks[1][2]["under_way"]


REDUCES_DURING_BACKWARD = ("torch", "deepspeed-zero0")


def reductions_before_first_layer(kind: str) -> int:
    """All-reduces that the engine has begun when autograd completes the first layer of two, each larger than a bucket."""
    width = math.isqrt(BUCKET_ELEMENTS) + 1
    model = nn.Sequential(nn.Linear(width, width), nn.Linear(width, width))
    engine = make_engine(kind, module=model)
    begun: list[int] = []
    reduce = mock.Mock(side_effect=dist.all_reduce)
    model[0].weight.register_post_accumulate_grad_hook(lambda _: begun.append(reduce.call_count))
    with mock.patch("torch.distributed.all_reduce", reduce):
        engine.accumulate(engine.model(torch.ones(1, width)).sum(), boundary=True)
        engine.reduce_gradients()
    engine.close()
    return begun[0]


def engines_body() -> list[int]:
    return [reductions_before_first_layer(kind) for kind in REDUCES_DURING_BACKWARD]


def test_engines_reduce_the_last_layer_while_the_first_ones_gradient_is_computed() -> None:
    for rank in run_distributed(engines_body, 2):
        assert all(rank), dict(zip(REDUCES_DURING_BACKWARD, rank, strict=True))
