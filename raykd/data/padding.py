"""Number of tokens that the rows of a batch are padded to."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

TENSOR_CORE_MULTIPLE = 8
"""Lengths that tensor cores are efficient at are multiples of this; there are fewer distinct ones too, of which each is a graph
where passes are compiled. Elsewhere it is time lost: with rows of 14 tokens, SST-2's, a batch has 1.22 times the tokens."""


@dataclass(frozen=True)
class PaddingRule:
    """Padded lengths of a model's batches: the longest row rounded up to a multiple, but not over a limit."""

    limit: int | None = None
    """Longest input of the model in tokens; None when it is unlimited."""
    multiple: int = 1
    """Divisor of the lengths."""

    def length(self, longest: int) -> int:
        """Tokens that rows of at most ``longest`` are padded to; 1 at least."""
        rounded = max(1, -(-longest // self.multiple)) * self.multiple
        return rounded if self.limit is None else min(rounded, self.limit)


EXACT = PaddingRule()
"""As long as the longest row."""


def padding_on(device: "torch.device", *, limit: int | None, compiled: bool = False) -> PaddingRule:
    """The padding of a model that takes ``limit`` tokens: in steps of 8 on a GPU and for compiled passes, else exact."""
    return PaddingRule(limit, TENSOR_CORE_MULTIPLE if device.type == "cuda" or compiled else 1)
