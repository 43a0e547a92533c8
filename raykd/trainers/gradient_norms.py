"""How the terms of a loss share the gradient: without it no weight of a term means anything."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

SHARE_EVERY = 100
"""Steps between measurements."""
Note = Callable[[list[Tensor]], None]
"""Is told the pull of each term, in their order."""


def pulls_at(place: Tensor, terms: Mapping[str, Tensor]) -> list[Tensor]:
    """L2 norm of each term's gradient at ``place``, a backward pass for each; none for a single term.

    To be called inside of a model's forward pass, which engines that allow a single backward pass do not look into.
    """
    if not place.requires_grad or len(terms) < 2 or not all(term.requires_grad for term in terms.values()):
        return []
    found = [torch.autograd.grad(term.sum(), place, retain_graph=True, allow_unused=True)[0] for term in terms.values()]
    return [place.new_zeros(()) if gradient is None else gradient.float().norm() for gradient in found]


class LogitsTap(nn.Module):
    """A model whose logits can be asked how hard each loss term pulls at them.

    The gradient with respect to the logits needs no pass through the network, so it costs next to nothing, and it works inside
    engines that allow no second backward pass. Terms that do not act through the logits cannot be compared this way.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self._model = [model]  # in a list: a module's child would be registered, and moved, with it
        self._logits: Tensor | None = None
        self._noted: list[Tensor] = []

    def _note(self, pulls: list[Tensor]) -> None:
        self._noted = pulls

    def forward(self, **inputs: Any) -> Any:
        """The model's output, with logits of the same values, ``[B, C]``, that gradients can stop at.

        A ``run`` (see :class:`~raykd.trainers.composite.Composite`) is given ``note``, to say itself what its terms pull with.
        """
        if "run" in inputs:
            return self._model[0](**inputs | {"run": functools.partial(inputs["run"], note=self._note)})
        output = self._model[0](**inputs)
        self._logits = output.logits = output.logits.view_as(output.logits)
        return output

    def __getattr__(self, name: str) -> Any:
        """What else the model has."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self._model[0], name)

    def pulls(self, terms: Sequence[Tensor]) -> list[Tensor]:
        """L2 norm of each term's gradient at the logits; none when there is one term, or one does not come through them."""
        if self._noted:
            return self._noted
        if len(terms) < 2 or self._logits is None or not all(term.requires_grad for term in terms):
            return []
        found = [torch.autograd.grad(term, self._logits, retain_graph=True, allow_unused=True)[0] for term in terms]
        return [] if any(gradient is None for gradient in found) else [gradient.float().norm() for gradient in found]
