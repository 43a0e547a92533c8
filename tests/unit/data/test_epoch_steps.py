"""Arithmetic of steps, windows and pools, against counting."""

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.data import epoch_steps
from raykd.data.epoch_steps import EpochSteps


@given(st.integers(1, 500), st.integers(1, 20), st.integers(1, 7), st.integers(1, 200))
def test_steps_windows_and_pools_are_those_of_cutting_the_rows(total: int, batch_size: int, window: int, pool: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(epoch_steps, "POOL_ROWS", pool)
        steps = EpochSteps(total, batch_size=batch_size, window=window)
    batches = cut(range(total), batch_size)
    windows = cut(batches, window)
    assert steps.batches_per_epoch == len(batches)
    assert steps.windows_per_epoch == len(windows)
    assert steps.pools_per_epoch == len(cut(windows, steps.windows_per_pool))
    assert (steps.windows_per_pool - 1) * window * batch_size < pool, "a pool is rounded up to whole windows"
    assert steps.windows_per_pool * window * batch_size >= pool
    for step in (0, len(batches) - 1, len(batches), 3 * len(batches) + 1):
        assert steps.epoch_of(step) == step // len(batches)
        assert batches[step % len(batches)] in windows[steps.window_of(step)]


def cut(values: Iterable[Any], size: int) -> list[list[Any]]:
    """Consecutive pieces of a size; the last may be short."""
    listed = list(values)
    return [listed[start : start + size] for start in range(0, len(listed), size)]


def test_a_window_that_an_epoch_does_not_have() -> None:
    steps = EpochSteps(10, batch_size=2, window=2)
    steps.check_window(2)
    for window in (-1, 3):
        with pytest.raises(IndexError, match=f"window {window} does not exist; an epoch has windows 0 to 2"):
            steps.check_window(window)
