"""Rows of a batch as one row of tokens without padding, and back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, eq=False)
class UnpaddedRows:
    """The place of every token of B rows, padded on the right to L tokens, in one row of T tokens without padding.

    All sizes are known on the host, so that no operation waits for the device.
    """

    positions: Tensor
    """``[T]`` int64: the token's position in the padded batch, ``row * L + position in the row``."""
    offsets: Tensor
    """``[B + 1]`` int32: the position in ``[T]`` at which each row begins, then T. (``cu_seqlens`` of attention kernels.)"""
    num_rows: int
    """B."""
    width: int
    """L."""
    longest: int
    """Tokens of the longest row."""

    @classmethod
    def from_lengths(cls, lengths: NDArray[np.int64], *, width: int, copy: Callable[[Tensor], Tensor]) -> Self:
        """Build the layout of rows of these lengths ``[B]``, padded to ``width``; ``copy`` moves a tensor to the device."""
        tokens = np.flatnonzero(np.arange(width) < lengths[:, None])
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
        return cls(
            positions=copy(torch.from_numpy(tokens)),
            offsets=copy(torch.from_numpy(offsets)),
            num_rows=len(lengths),
            width=width,
            longest=int(lengths.max()),
        )

    @property
    def position_ids(self) -> Tensor:
        """``[1, T]`` int64: position of each token in its row, from 0."""
        return (self.positions % self.width)[None]

    def join(self, padded: Tensor) -> Tensor:
        """Concatenate the rows of ``[B, L, ...]``, padding left out, to ``[1, T, ...]``."""
        return padded.flatten(0, 1).index_select(0, self.positions)[None]

    def pad(self, joined: Tensor) -> Tensor:
        """Inverse of :meth:`join`: from ``[1, T, ...]`` to ``[B, L, ...]``, with zeros as padding."""
        padded = joined.new_zeros(self.num_rows * self.width, *joined.shape[2:])
        return padded.index_copy(0, self.positions, joined[0]).view(self.num_rows, self.width, *joined.shape[2:])

    def first_tokens(self, joined: Tensor) -> Tensor:
        """The first token of every row of ``[1, T, ...]``: ``[B, 1, ...]``."""
        return joined[0].index_select(0, self.offsets[:-1])[:, None]
