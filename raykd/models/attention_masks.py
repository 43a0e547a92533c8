"""Attention masks that the host does not read back from the device.

transformers checks on every forward pass whether a padding mask is true everywhere
(``masking_utils._ignore_bidirectional_mask_sdpa``), because attention without a mask has faster kernels. On a GPU that check
waits for all work queued before it. A :class:`~raykd.data.batch.Batch` knows the answer from the lengths of its rows, and
passes a mask only where a row is padded.
"""

from typing import Any

IMPLEMENTATION = "raykd_sdpa"
"""Name of transformers' SDPA with :func:`given_mask`."""


def use_given_masks(model: Any) -> None:
    """Let a model use every padding mask that it is given, without a check for padding; the numbers stay the same.

    It leaves alone models with another attention than SDPA, and those whose attention cannot be replaced. The model's saved
    configuration does not change.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if model.config._attn_implementation != "sdpa" or not getattr(model, "_supports_attention_backend", False):
        return
    AttentionInterface.register(IMPLEMENTATION, sdpa_attention_forward)
    AttentionMaskInterface.register(IMPLEMENTATION, given_mask)
    model.set_attn_implementation(IMPLEMENTATION)


def given_mask(*, attention_mask: Any = None, **shape: Any) -> Any:
    """The mask ``[B, 1, L, L]`` of a padding mask ``[B, L]``, both bool; for transformers' ``AttentionMaskInterface``.

    Without a padding mask it returns what SDPA's own function does: None where the kernel needs none. For attention in both
    directions over all positions it is a view of the padding mask.
    """
    from transformers import masking_utils

    if attention_mask is None:
        return masking_utils.sdpa_mask(attention_mask=None, **shape)
    rows, queries, keys = shape["batch_size"], shape["q_length"], shape["kv_length"]
    both_directions = shape.get("mask_function") is masking_utils.bidirectional_mask_function
    if both_directions and attention_mask.shape == (rows, keys) and not shape.get("kv_offset"):
        return attention_mask[:, None, None, :].expand(rows, 1, queries, keys)
    return masking_utils.sdpa_mask(
        attention_mask=attention_mask, **shape | {"allow_is_causal_skip": False, "allow_is_bidirectional_skip": False}
    )
