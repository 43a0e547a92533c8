"""Threads by the size of a step."""

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from raykd.trainers.cpu_threads import FLOP_PER_THREAD, choose_threads, step_flop, threads_restored


def test_a_trained_parameter_counts_six_times_a_token_and_a_teachers_twice() -> None:
    student, teacher = (nn.Sequential(nn.Embedding(100, 4), nn.Linear(4, size, bias=False)) for size in (3, 5))
    assert step_flop(student, tokens=7) == 6 * 7 * 4 * 3
    assert step_flop(student, tokens=7, teacher=teacher) == 6 * 7 * 4 * 3 + 2 * 7 * 4 * 5


@given(st.floats(0, 1e15), st.integers(1, 64))
def test_threads_are_within_bounds_and_each_has_its_work(flop: float, available: int) -> None:
    threads = choose_threads(flop, available=available)
    assert 1 <= threads <= available
    assert threads == 1 or threads * FLOP_PER_THREAD <= flop
    assert threads == available or flop < (threads + 1) * FLOP_PER_THREAD


def test_the_process_gets_its_threads_back() -> None:
    before = torch.get_num_threads()
    with threads_restored():
        torch.set_num_threads(before + 1)
    assert torch.get_num_threads() == before
