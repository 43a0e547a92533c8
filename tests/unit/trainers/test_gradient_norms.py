"""Measurement of gradient norms inside of a model's forward pass, where the engine allows it."""

import math
from typing import Any

import pytest
import torch

from raykd.trainers.gradient_norms import GradientNormProbe, term_gradient_norms


class Runner(torch.nn.Module):
    def forward(self, *, run: Any) -> Any:
        return run()


@pytest.mark.parametrize("inside", [True, False])
def test_terms_are_measured_inside_where_parameters_are_whole(inside: bool) -> None:
    given: list[Any] = []

    def run(report_norms: Any = None) -> dict[str, torch.Tensor]:
        given.append(report_norms)
        if report_norms is not None:
            report_norms([torch.tensor(2.0), torch.tensor(3.0)])
        return {"a": torch.zeros(1), "b": torch.zeros(1)}

    probe = GradientNormProbe(Runner(), inside=inside)
    terms = probe(run=run)
    assert (given[0] is not None) == inside
    assert [float(norm) for norm in probe.term_norms(terms)] == ([2.0, 3.0] if inside else [])


def test_a_term_that_does_not_depend_on_the_tensor_is_not_a_number() -> None:
    at, other = torch.ones(2, requires_grad=True), torch.ones(2, requires_grad=True)
    first, second = term_gradient_norms({"a": 3 * at, "b": 2 * other}, at=at)
    assert float(first) == pytest.approx(18**0.5)
    assert math.isnan(second)
