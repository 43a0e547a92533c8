"""Gradient norm of each loss term, which shows the effect of the term's weight."""

import functools
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

MEASURE_EVERY = 100
"""Steps between measurements."""
ReportNorms = Callable[[list[Tensor]], None]
"""Receives the gradient norm of each term, in their order."""


def term_gradient_norms(terms: Mapping[str, Tensor], *, at: Tensor) -> list[Tensor]:
    """L2 norm of each term's gradient with respect to ``at``, by one backward pass each; empty for a single term.

    A term that does not depend on ``at`` has nan, which is reported like any other quantity that is not finite.
    Call it inside of a model's forward pass, which engines that allow a single backward pass do not see.
    """
    if not at.requires_grad or len(terms) < 2 or not all(term.requires_grad for term in terms.values()):
        return []
    found = [torch.autograd.grad(term.sum(), at, retain_graph=True, allow_unused=True)[0] for term in terms.values()]
    return [at.new_full((), torch.nan) if gradient is None else gradient.float().norm() for gradient in found]


class GradientNormProbe(nn.Module):
    """Wraps a model to measure the gradient norm of each loss term at its logits.

    That gradient needs no backward pass through the network, so it is cheap, and it works inside engines that allow no second
    backward pass. Terms that do not depend on the logits cannot be compared this way.
    """

    def __init__(self, model: nn.Module, *, inside: bool = True) -> None:
        super().__init__()
        self._inside = inside
        self._model = [model]  # in a list: a module's child would be registered, and moved, with it
        self._logits: Tensor | None = None
        self._reported: list[Tensor] = []

    def forward(self, **inputs: Any) -> Any:
        """The model's output, with logits of the same values, ``[B, C]``, in a tensor that gradients can be taken at.

        A ``run`` function (see :class:`~raykd.trainers.auxiliary.Composite`) gets ``report_norms`` and measures its own terms,
        if gradients may be taken inside of the forward pass.
        """
        if "run" in inputs and not self._inside:
            return self._model[0](**inputs)
        if "run" in inputs:
            return self._model[0](**inputs | {"run": functools.partial(inputs["run"], report_norms=self._report)})
        output = self._model[0](**inputs)
        self._logits = output.logits = output.logits.view_as(output.logits)
        return output

    def _report(self, norms: list[Tensor]) -> None:
        self._reported = norms

    def __getattr__(self, name: str) -> Any:
        """Attribute of the model."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._model[0], name)

    def term_norms(self, terms: Mapping[str, Tensor]) -> list[Tensor]:
        """Gradient norm of each term, summed over its rows; empty for a single term, or when one has no gradient here."""
        if self._reported:
            return self._reported
        if len(terms) < 2 or self._logits is None or not all(term.requires_grad for term in terms.values()):
            return []
        found = [torch.autograd.grad(term, self._logits, retain_graph=True, allow_unused=True)[0] for term in terms.values()]
        return [] if any(gradient is None for gradient in found) else [gradient.float().norm() for gradient in found]
