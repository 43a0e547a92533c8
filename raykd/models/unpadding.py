"""Encoders that run without padding: the rows of a batch are joined to one row of tokens, and attention stays within each row.

Inputs and outputs are those of the padded model: rows are joined where its encoder begins, and its hidden states are padded
again where it ends, so that classifier heads, pooling and losses see ``[B, L, H]``, with zeros as padding.
"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any, Self

from raykd.errors import ModelError
from raykd.models.attention_masks import given_mask, use_given_masks
from raykd.models.classifiers import load_config

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from torch import Tensor, nn

    from raykd.data.unpadded_rows import UnpaddedRows

IMPLEMENTATION = "raykd_unpadded"
"""Name of the attention of :func:`unpad_rows`."""
UNPADDED_TYPES = ("bert", "distilbert", "modernbert", "roberta", "xlm-roberta")
"""Model types that run without padding."""
ROWS = "unpadded_rows"
"""Argument of a forward pass: :class:`~raykd.data.unpadded_rows.UnpaddedRows`."""
KERNEL_CAPABILITY, KERNEL_HEAD_SIZE = (8, 0), 256
"""Least compute capability of a GPU, and largest head, that torch's kernel for rows of varying length takes."""


def check_unpadded(models: Iterable[str]) -> None:
    """Refuse models that do not run without padding, from their config.json. Raises ModelError."""
    for model in dict.fromkeys(models):
        if refusal := unpadding_refusal(load_config(model), name=model):
            raise ModelError(refusal)


def unpadding_refusal(config: Any, *, name: str) -> str | None:
    """The reason why a model of this configuration does not run without padding; None where it does."""
    if config.model_type in UNPADDED_TYPES and not getattr(config, "is_decoder", False):
        return None
    kind = "a decoder of type" if config.model_type in UNPADDED_TYPES else "of type"
    return (
        f"compute.attention = unpadded, but {name} is {kind} {config.model_type}; encoders of the types "
        f"{', '.join(UNPADDED_TYPES)} run without padding; take one of them, or set compute.attention to padded"
    )


def set_attention(model: Any, *, unpadded: bool, name: str = "the model") -> None:
    """Prepare a model's attention for batches with masks, or :func:`unpad_rows`; ``name`` is the model's in errors."""
    if unpadded:
        unpad_rows(model, name=name)
    else:
        use_given_masks(model)


def runs_unpadded(model: Any) -> bool:
    """True for a model that takes :data:`ROWS`: one of :func:`unpad_rows` whose attention was not replaced since."""
    return getattr(getattr(model, "config", None), "_attn_implementation", None) == IMPLEMENTATION


def unpad_rows(model: Any, *, name: str = "the model") -> None:
    """Make a stock classifier or encoder take the argument :data:`ROWS`, and run on the joined rows then.

    Without the argument it computes what :func:`~raykd.models.attention_masks.use_given_masks` would make it compute. The
    weights and the saved configuration do not change. Raises ModelError for a type that is not in :data:`UNPADDED_TYPES`.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    if refusal := unpadding_refusal(model.config, name=name):
        raise ModelError(refusal)
    AttentionInterface.register(IMPLEMENTATION, _attention)
    AttentionMaskInterface.register(IMPLEMENTATION, given_mask)
    model.set_attn_implementation(IMPLEMENTATION)
    encoder, joiner = model.base_model, _RowJoiner()
    encoder.register_forward_pre_hook(joiner.join_inputs, with_kwargs=True)
    encoder.register_forward_hook(joiner.pad_outputs)
    if getattr(encoder, "pooler", None) is not None:
        encoder.pooler.register_forward_pre_hook(joiner.first_tokens)


class _RowJoiner:
    """Hooks of one encoder, around one forward pass at a time."""

    def __init__(self) -> None:
        self._rows: UnpaddedRows | None = None

    def join_inputs(self, encoder: nn.Module, args: tuple[Any, ...], given: dict[str, Any]) -> Any:
        """Join ids, token types and positions to ``[1, T]``, and expand the mask ``[B, L]`` to ``[B, 1, 1, L]``."""
        self._rows = rows = given.get(ROWS)
        if rows is None:
            return None
        inputs = ({"input_ids": args[0]} if args else {}) | given
        inputs["position_ids"] = _position_ids(encoder, inputs["input_ids"], rows)
        for name in ("input_ids", "token_type_ids"):
            if inputs.get(name) is not None:
                inputs[name] = rows.join(inputs[name])
        # models pass a mask of four dimensions on as it is
        inputs["attention_mask"] = inputs["attention_mask"].bool()[:, None, None, :]
        return (), inputs

    def first_tokens(self, _: nn.Module, args: tuple[Tensor, ...]) -> Any:
        """Give the pooler, which reads the first position, that of every row."""
        return None if self._rows is None else (self._rows.first_tokens(args[0]), *args[1:])

    def pad_outputs(self, _: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        """Pad the hidden states to ``[B, L, H]``."""
        rows, self._rows = self._rows, None
        if rows is not None:
            output.last_hidden_state = rows.pad(output.last_hidden_state)
            if output.get("hidden_states") is not None:
                output.hidden_states = PaddedStates(map(rows.pad, output.hidden_states), joined=output.hidden_states[0])
        return output


class PaddedStates(tuple["Tensor", ...]):
    """Hidden states ``[B, L, H]`` of a forward pass on joined rows. The layers have read none of these copies."""

    joined: Tensor
    """The embeddings ``[1, T, H]`` that the first layer has read."""

    def __new__(cls, states: Iterable[Tensor], *, joined: Tensor) -> Self:
        """Keep the states, and the tensor that the first of them is a copy of."""
        padded = super().__new__(cls, states)
        padded.joined = joined
        return padded


def first_layer_input(hidden_states: Sequence[Tensor]) -> Tensor:
    """The embeddings that the first layer has read, to take gradients at: ``[B, L, H]``, or joined ``[1, T, H]``."""
    return hidden_states.joined if isinstance(hidden_states, PaddedStates) else hidden_states[0]


def _position_ids(encoder: Any, input_ids: Tensor, rows: UnpaddedRows) -> Tensor:
    """Positions ``[1, T]``; RoBERTa's begin after its padding token, and leave out every such token of the text."""
    numbered = getattr(encoder.embeddings, "create_position_ids_from_input_ids", None)
    return rows.position_ids if numbered is None else rows.join(numbered(input_ids, encoder.embeddings.padding_idx))


def _attention(  # noqa: PLR0917 (the signature is transformers')
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    unpadded_rows: UnpaddedRows | None = None,
    **more: Any,
) -> tuple[Tensor, None]:
    """Attention within each row: ``[1, A, T, D]`` each to ``[1, T, A, D]``. Without ``unpadded_rows`` transformers' SDPA."""
    from torch.nn.functional import scaled_dot_product_attention
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if unpadded_rows is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module, query, key, value, attention_mask, dropout=dropout, scaling=scaling, **more
        )
        return found
    assert attention_mask is not None
    reach = None if sliding_window is None else sliding_window - 1  # transformers counts the token itself
    query, key, value = (part.transpose(1, 2) for part in (query, key, value))  # [1, T, A, D]
    if kernel_takes(query, dropout):
        return _by_kernel((query, key, value), unpadded_rows, scaling, reach), None
    query, key, value = (unpadded_rows.pad(part).transpose(1, 2) for part in (query, key, value))  # [B, A, L, D]
    mask = _within(attention_mask, reach)
    attended = scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scaling)
    return unpadded_rows.join(attended.transpose(1, 2)), None


def kernel_takes(query: Tensor, dropout: float) -> bool:
    """True where torch's kernel computes ``[1, T, A, D]``: in 16 bits, without dropout, on a GPU that has it."""
    import torch

    size = query.shape[-1]
    return (
        _kernel() is not None
        and query.is_cuda
        and query.dtype in {torch.bfloat16, torch.float16}
        and dropout == 0.0
        and size % 8 == 0
        and size <= KERNEL_HEAD_SIZE
        and torch.cuda.get_device_capability(query.device) >= KERNEL_CAPABILITY
    )


def _by_kernel(heads: tuple[Tensor, ...], rows: UnpaddedRows, scaling: float | None, reach: int | None) -> Tensor:
    """Attention of queries, keys and values ``[1, T, A, D]`` without any padding, ``[1, T, A, D]``.

    Each token reaches ``reach`` tokens to both sides, None the whole row.
    """
    kernel, window = _kernel(), (-1, -1) if reach is None else (reach, reach)
    assert kernel is not None
    query, key, value = (part[0] for part in heads)
    attended: Tensor = kernel(
        query, key, value, rows.offsets, rows.offsets, rows.longest, rows.longest, scale=scaling, window_size=window
    )
    return attended[None]


@functools.cache
def _kernel() -> Callable[..., Any] | None:
    """The attention of torch for rows of varying length; None in versions that lack it, or its sliding window."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn if "window_size" in inspect.signature(varlen_attn).parameters else None


def _within(mask: Tensor, reach: int | None) -> Tensor:
    """The mask ``[B, 1, L, L]`` of a padding mask ``[B, 1, 1, L]`` and a sliding window."""
    import torch

    width = mask.shape[-1]
    if reach is None:
        return mask.expand(-1, 1, width, width)
    places = torch.arange(width, device=mask.device)
    return mask & ((places[:, None] - places).abs() <= reach)
