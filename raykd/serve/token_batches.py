"""Batches of rows by padded tokens."""

from collections.abc import Sequence


def padded_tokens(lengths: Sequence[int]) -> int:
    """Tokens of rows in one batch, each padded to the longest."""
    return max(lengths, default=0) * len(lengths)


def token_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions of rows in batches of similar length, shortest first, of at most ``budget`` padded tokens each.

    A row that is longer than the budget is a batch of its own.
    """
    batches: list[list[int]] = []
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        if batches and lengths[index] * (len(batches[-1]) + 1) <= budget:
            batches[-1].append(index)
        else:
            batches.append([index])
    return batches
