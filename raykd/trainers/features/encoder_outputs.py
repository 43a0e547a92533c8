"""Intermediate features of a stock encoder: hidden states, and the attention's scores, queries, keys and values."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from raykd.errors import ModelError

ATTENTION = "raykd_features"
"""Name of the attention implementation that returns its inputs and scores."""
FeatureName = Literal["embedding", "hidden", "scores", "queries", "keys", "values"]
TOKEN_AXES: Mapping[FeatureName, int] = {"embedding": 1, "hidden": 1, "scores": 2, "queries": 1, "keys": 1, "values": 1}
"""Number of token axes of each feature: ``[B, L, W]`` has one, ``[B, A, L, L]`` two."""
ATTENTION_FEATURES: frozenset[FeatureName] = frozenset({"scores", "queries", "keys", "values"})
"""Features that need a replaceable attention."""
_UNSUPPORTED = ("position_bias", "s_aux")
"""Arguments of transformers' attention functions that change the result and that :func:`_attention` does not support."""
Features = Mapping[FeatureName, tuple[Tensor, ...]]
"""Selected features of one model: ``embedding`` holds one tensor, any other name one tensor for each pair of a layer map."""


@dataclass(frozen=True)
class EncoderOutputs:
    """Results of one forward pass of a classifier."""

    output: Any
    """The model's own output object."""
    hidden: tuple[Tensor, ...]
    """Embeddings, then every layer's output: ``[B, L, H]`` each."""
    attention: tuple[Mapping[FeatureName, Tensor], ...]
    """Every layer's :data:`ATTENTION_FEATURES`; empty where not requested."""

    @property
    def logits(self) -> Tensor:
        """Logits ``[B, C]``."""
        found: Tensor = self.output.logits
        return found

    def select(self, names: Collection[FeatureName], layers: Sequence[int]) -> dict[FeatureName, tuple[Tensor, ...]]:
        """The named features of these layers, counted from 1."""
        return {name: tuple(self._feature(name, layer) for layer in ([0] if name == "embedding" else layers)) for name in names}

    def _feature(self, name: FeatureName, layer: int) -> Tensor:
        if name in ATTENTION_FEATURES:
            return self.attention[layer - 1][name]
        if name in {"embedding", "hidden"}:
            return self.hidden[layer]
        raise ValueError(f"feature {name!r} is not taken from the forward pass; add it to ATTENTION_FEATURES or here")


def encoder_outputs(model: nn.Module, inputs: Mapping[str, Tensor], *, features: Collection[FeatureName]) -> EncoderOutputs:
    """Run the model and keep its hidden states and, where a feature asks for it, its attention.

    The model's attention must be exposed first for :data:`ATTENTION_FEATURES`, see :func:`expose_attention`.
    """
    with_attention = not ATTENTION_FEATURES.isdisjoint(features)
    output = model(**inputs, output_hidden_states=True, output_attentions=with_attention)
    attention = tuple(_attention_features(*tensors) for tensors in output.attentions) if with_attention else ()
    return EncoderOutputs(output, tuple(output.hidden_states), attention)


def _attention_features(scores: Tensor, query: Tensor, key: Tensor, value: Tensor) -> dict[FeatureName, Tensor]:
    """Queries, keys and values ``[B, A, L, D]`` with their heads concatenated, ``[B, L, A·D]``."""
    queries, keys, values = (part.transpose(1, 2).flatten(2) for part in (query, key, value))
    return {"scores": scores, "queries": queries, "keys": keys, "values": values}


def attention_is_replaceable(model: Any) -> bool:
    """True when a model, or a model class, looks its attention up in transformers' ``AttentionInterface``."""
    return bool(getattr(model, "_supports_attention_backend", False))


def attention_refusal(name: str, model_type: str, *, terms: Sequence[str]) -> str:
    """Compose the message for a model whose attention cannot be replaced, though the ``terms`` of the loss read it."""
    return (
        f"{name} is of type {model_type}, whose attention cannot be replaced, so its scores, queries, keys and values are not "
        f"available; set {' and '.join(f'{term}_weight' for term in terms)} to 0, or take a BERT, RoBERTa, DistilBERT, ALBERT, "
        "ELECTRA or ModernBERT model"
    )


def expose_attention(model: Any, *, name: str, terms: Sequence[str]) -> None:
    """Make a model return as its attentions the scores (``q k^T / sqrt(d)``, before mask and softmax) with q, k and v.

    The model computes what it computed before, and its saved configuration does not change. Raises ModelError for a model whose
    attention cannot be replaced (MPNet, XLNet, DeBERTa-v2 ...): it would ignore the request. The message names ``terms``.
    """
    from transformers import AttentionInterface, AttentionMaskInterface

    if not attention_is_replaceable(model):
        raise ModelError(attention_refusal(name, model.config.model_type, terms=terms))
    AttentionInterface.register(ATTENTION, _attention)
    AttentionMaskInterface.register(ATTENTION, _mask)
    model.set_attn_implementation(ATTENTION)


def _mask(*, attention_mask: Tensor | None = None, **shape: Any) -> Tensor | None:
    """Eager mask of transformers, but for its check for padding, which would wait for the device."""
    from transformers.masking_utils import eager_mask

    check = shape.pop("allow_is_bidirectional_skip", False) and attention_mask is None
    mask: Tensor | None = eager_mask(attention_mask=attention_mask, allow_is_bidirectional_skip=check, **shape)
    return mask


def _attention(  # noqa: PLR0917 (the signature is transformers')
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    softcap: float | None = None,
    **more: Any,
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """Eager attention of transformers; in place of the probabilities it returns scores, queries, keys and values."""
    groups = query.shape[1] // key.shape[1]  # grouped-query attention: several query heads share a key head
    keys, values = (part if groups == 1 else part.repeat_interleave(groups, dim=1) for part in (key, value))
    scores = torch.matmul(query, keys.transpose(2, 3)) * (query.size(-1) ** -0.5 if scaling is None else scaling)
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    if any(more.get(name) is not None for name in _UNSUPPORTED):
        raise ModelError(f"{type(module).__name__} adds biases or sinks to its attention, which cannot be reproduced here")
    masked = scores if attention_mask is None else scores + attention_mask
    weights = nn.functional.dropout(nn.functional.softmax(masked, dim=-1), p=dropout, training=module.training)
    return torch.matmul(weights, values).transpose(1, 2).contiguous(), (scores, query, key, value)
