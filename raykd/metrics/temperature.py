"""Temperature scaling: one number that logits are divided by, so that probabilities match how often answers are right."""

import math
from collections.abc import Callable

LOWEST, HIGHEST = 0.05, 20.0
"""Bounds of a temperature."""


def fit_temperature(loss: Callable[[float], float]) -> float:
    """The temperature in 0.05..20 with the smallest ``loss``, the negative log likelihood of ``logits / T``.

    Guo et al. 2017, arXiv:1706.04599 §4.2. The loss is convex in ``1 / T``, so that it has one minimum in ``log T``. Without
    one above ``LOWEST``, as on rows that are all answered correctly, it is 1: such rows do not tell how sure to be.
    """
    from scipy.optimize import minimize_scalar  # type: ignore[import-untyped]

    bounds = math.log(LOWEST), math.log(HIGHEST)
    found = minimize_scalar(lambda log_t: loss(math.exp(log_t)), bounds=bounds, method="bounded", options={"xatol": 1e-4})
    temperature = float(math.exp(found.x))
    return temperature if loss(temperature) < loss(LOWEST) else 1.0
