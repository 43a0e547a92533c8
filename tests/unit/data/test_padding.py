"""Padded lengths."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from raykd.data.padding import EXACT, PaddingRule, padding_on


@given(longest=st.integers(0, 600), multiple=st.integers(1, 16), limit=st.none() | st.integers(600, 700))
def test_a_padded_length_is_the_smallest_multiple_that_holds_the_row(longest: int, multiple: int, limit: int | None) -> None:
    length = PaddingRule(limit, multiple).length(longest)
    assert longest <= length
    assert length == limit or (length % multiple == 0 and length - multiple < max(longest, 1))


def test_padding_ends_at_the_models_positions() -> None:
    assert PaddingRule(limit=13, multiple=8).length(12) == 13


def test_rows_are_padded_in_steps_of_8_where_that_is_faster() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert padding_on(cpu, limit=None) == EXACT
    assert [padding_on(gpu, limit=512), padding_on(cpu, limit=512, compiled=True)] == [PaddingRule(512, 8)] * 2
