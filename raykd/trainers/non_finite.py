"""Values of a step that are not finite, by quantity, term and worker."""

import math
from collections.abc import Mapping, Sequence

from raykd.trainers.events import NonFinite, Quantity


def find_non_finite(
    step: int, sums: Mapping[str, float], norms: Mapping[str, float], grad_norm: float, by_rank: Sequence[Sequence[float]]
) -> list[NonFinite]:
    """The first quantity that is not finite: the loss, the gradient norm, else the per-term gradient norms.

    ``sums`` and ``norms`` are values by term over all workers; ``by_rank`` has each worker's own: the sums, then the norms.
    """
    if not all(map(math.isfinite, sums.values())):
        return _by_term(step, "loss", sums, [values[: len(sums)] for values in by_rank])
    if not math.isfinite(grad_norm):
        return [NonFinite(step=step, quantity="gradient norm", value=str(grad_norm))]
    return _by_term(step, "per-term gradient norm", norms, [values[len(sums) :] for values in by_rank])


def _by_term(step: int, quantity: Quantity, sums: Mapping[str, float], by_rank: Sequence[Sequence[float]]) -> list[NonFinite]:
    """Name the workers and terms of values that are not finite; the term alone where only the sum over the workers is not."""
    found = [
        NonFinite(step=step, quantity=quantity, term=term, rank=rank, value=str(value))
        for rank, values in enumerate(by_rank)
        for term, value in zip(sums, values, strict=False)
        if not math.isfinite(value)
    ]
    return found or [
        NonFinite(step=step, quantity=quantity, term=term, value=str(value))
        for term, value in sums.items()
        if not math.isfinite(value)
    ]
