"""Measurement of gradient norms inside of a model's forward pass, where the engine allows it."""

from typing import Any

import pytest
import torch

from raykd.trainers.gradient_norms import GradientNormProbe


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
