"""Rows of each class, and the weights that balance them."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.data.class_balance import balanced_weights, class_counts
from raykd.data.tokenised_set import TokenisedSet


def test_the_rows_of_each_class_are_counted(prepare_rows: Callable[..., TokenisedSet]) -> None:
    assert class_counts(prepare_rows("good\tpos\nbad\tneg\nfilm\tpos\n")).tolist() == [1, 2]
    with pytest.raises(ValueError, match="no labels"):
        class_counts(prepare_rows("good\tpos\n", label=None, codec=None))


def test_weights_computed_by_hand() -> None:
    assert balanced_weights([1, 3]) == (2.0, pytest.approx(2 / 3))
    assert balanced_weights([2, 0, 6]) == (2.0, 0.0, pytest.approx(2 / 3))


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=20).filter(any))
def test_every_class_has_the_same_total_weight_and_rows_weigh_one_on_average(counts: list[int]) -> None:
    totals = [count * weight for count, weight in zip(counts, balanced_weights(counts), strict=True)]
    assert sum(totals) == pytest.approx(sum(counts))
    assert [total for total in totals if total] == pytest.approx(
        [sum(counts) / len([c for c in counts if c])] * sum(map(bool, counts))
    )
