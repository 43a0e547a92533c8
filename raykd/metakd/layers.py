"""What lies inside a stock encoder: hidden states, attention scores before the softmax, and which layer learns from which."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from raykd.errors import ConfigError, ModelError

SCORES = "raykd_scores"
"""Name of the attention implementation that hands out its scores."""
LayerMap = tuple[tuple[int, int], ...]
"""Pairs (student layer, teacher layer), both counted from 1."""


@dataclass(frozen=True)
class EncoderOutputs:
    """What a forward pass of a classifier went through."""

    logits: Tensor
    """``[B, C]``."""
    hidden: tuple[Tensor, ...]
    """Embeddings, then every layer's output: ``[B, L, H]`` each."""
    scores: tuple[Tensor, ...]
    """Every layer's attention scores ``[B, A, L, L]`` before mask and softmax; empty where not asked for."""


def insides(model: nn.Module, inputs: dict[str, Tensor], *, with_scores: bool) -> EncoderOutputs:
    """Run the model and keep what it went through."""
    output = model(**inputs, output_hidden_states=True, output_attentions=with_scores)
    return EncoderOutputs(output.logits, tuple(output.hidden_states), tuple(output.attentions) if with_scores else ())


def expose_scores(model: Any, *, name: str) -> None:
    """Make a model's attentions the scores before the softmax: ``q k^T / sqrt(d)``, the mask not yet added.

    The model computes what it computed before; its saved configuration does not change. Raises ModelError for a kind of model
    whose attention cannot be replaced (MPNet, XLNet, DeBERTa-v2 ...): it would ignore the request.
    """
    from transformers import AttentionInterface, AttentionMaskInterface
    from transformers.masking_utils import eager_mask

    if not getattr(model, "_supports_attention_backend", False):
        raise ModelError(
            f"{name} is a {model.config.model_type} model, whose attention scores cannot be had; "
            "set attention_weight to 0, or take a BERT, RoBERTa, DistilBERT, ALBERT, ELECTRA or ModernBERT model"
        )
    AttentionInterface.register(SCORES, _attention)
    AttentionMaskInterface.register(SCORES, eager_mask)
    model.set_attn_implementation(SCORES)


def _attention(  # noqa: PLR0917 (the signature is transformers')
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """The eager attention of transformers, which returns probabilities after dropout, with the scores in their place."""
    scores = torch.matmul(query, key.transpose(2, 3)) * (query.size(-1) ** -0.5 if scaling is None else scaling)
    masked = scores if attention_mask is None else scores + attention_mask
    weights = nn.functional.dropout(nn.functional.softmax(masked, dim=-1), p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), scores


def layer_map(layers: Literal["uniform"] | Sequence[Sequence[int]], *, student: int, teacher: int) -> LayerMap:
    """Which student layer learns from which teacher layer, of ``student`` and ``teacher`` layers.

    uniform is TinyBERT's (arXiv:1909.10351): layer i of the student from layer ``i · teacher / student``. Raises ConfigError
    when that is not whole, or a pair names a layer that is not there, or a student layer twice.
    """
    if layers == "uniform":
        if teacher % student:
            raise ConfigError(
                f"layers = uniform: {teacher} teacher layers cannot be shared evenly by {student} student layers; "
                f"list pairs, for example layers: [[{student}, {teacher}]]"
            )
        ratio = teacher // student
        return tuple((layer, layer * ratio) for layer in range(1, student + 1))
    pairs = tuple((int(own), int(other)) for own, other in layers)
    for own, other in pairs:
        if not (1 <= own <= student and 1 <= other <= teacher):
            raise ConfigError(
                f"layers: [{own}, {other}] is not a pair of a student layer 1 .. {student} and a teacher layer 1 .. {teacher}"
            )
    if not pairs or len({own for own, _ in pairs}) < len(pairs):
        raise ConfigError(f"layers = {[list(pair) for pair in pairs]}: give at least one pair, each student layer once")
    return pairs


def alike(student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
    """Attention scores ``[B, A, L, L]`` of one shape: where the head counts differ, both are averaged over their heads.

    Heads have no order, so no pairing of 4 heads with 2 means more than another; the mean depends on none.
    """
    if student.shape[1] == teacher.shape[1]:
        return student, teacher
    return student.mean(1, keepdim=True), teacher.mean(1, keepdim=True)
