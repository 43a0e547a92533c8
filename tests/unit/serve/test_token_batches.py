"""Batches hold each row once, are sorted, and keep the budget."""

from hypothesis import given
from hypothesis import strategies as st

from raykd.serve.token_batches import PASS_TOKENS, padded_tokens, token_batches


@given(st.lists(st.integers(1, 200), max_size=60), st.integers(1, 1000))
def test_each_row_is_in_one_batch_within_the_budget(lengths, budget):
    batches = token_batches(lengths, budget)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        own = [lengths[index] for index in batch]
        assert len(batch) == 1 or padded_tokens(own) <= budget
        assert padded_tokens(own) - sum(own) <= PASS_TOKENS
    flat = [lengths[index] for batch in batches for index in batch]
    assert flat == sorted(flat)


def test_padded_tokens_by_hand():
    assert padded_tokens([]) == 0
    assert padded_tokens([3, 5, 1]) == 15


def test_rows_of_other_lengths_are_not_padded_to_each_other():
    assert token_batches([50, 10, 11, 49, 10], 4096) == [[1, 4, 2], [3, 0]]
