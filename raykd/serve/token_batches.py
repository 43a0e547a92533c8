"""Batches of rows by padded tokens."""

from collections.abc import Sequence

PASS_TOKENS = 8
"""Cost of a forward pass beyond its tokens, in tokens: 0.5 to 1 ms where a token takes 0.12 ms (six small layers, one core)."""


def padded_tokens(lengths: Sequence[int]) -> int:
    """Tokens of rows in one batch, each padded to the longest."""
    return max(lengths, default=0) * len(lengths)


def token_batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Positions of rows in batches of similar length, shortest first, of at most ``budget`` padded tokens each.

    A batch ends where its padding would cost more than another forward pass. A row that is longer than the budget is a batch
    of its own.
    """
    batches: list[list[int]] = []
    tokens = 0  # of the last batch, without padding
    for index in sorted(range(len(lengths)), key=lambda index: lengths[index]):
        length = lengths[index]
        padded = length * (len(batches[-1]) + 1) if batches else 0
        if batches and padded <= budget and padded - tokens - length <= PASS_TOKENS:
            batches[-1].append(index)
            tokens += length
        else:
            batches.append([index])
            tokens = length
    return batches
