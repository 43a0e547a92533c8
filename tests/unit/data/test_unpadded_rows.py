"""Rows joined without padding: every token once, in order, and back."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from raykd.data.unpadded_rows import UnpaddedRows


@given(lengths=st.lists(st.integers(1, 9), min_size=1, max_size=7), more=st.integers(0, 4))
def test_joined_rows_are_the_tokens_in_order_and_pad_is_the_inverse(lengths: list[int], more: int) -> None:
    width = max(lengths) + more
    rows = UnpaddedRows.from_lengths(np.array(lengths), width=width, copy=lambda tensor: tensor)
    mask = torch.arange(width) < torch.tensor(lengths)[:, None]
    padded = torch.arange(len(lengths) * width * 2.0).unflatten(0, (len(lengths), width, 2)) * mask[..., None]
    joined = rows.join(padded)
    assert torch.equal(joined, torch.cat([row[:length] for row, length in zip(padded, lengths, strict=True)])[None])
    assert torch.equal(rows.pad(joined), padded)
    assert torch.equal(rows.first_tokens(joined), padded[:, :1])
    assert rows.position_ids.tolist() == [[place for length in lengths for place in range(length)]]
    assert (rows.offsets.dtype, rows.offsets.diff().tolist()) == (torch.int32, lengths)
    assert (rows.num_rows, rows.width, rows.longest) == (len(lengths), width, max(lengths))
