"""Number of a model's parameters by part, from the headers of its weight files."""

import math
from dataclasses import dataclass

from raykd.models.classifiers import NUMBERED_LAYER
from raykd.models.folders import check_weights, local_folder

HEADS = frozenset({"classification_head", "classifier", "cls", "discriminator_predictions", "generator_lm_head",
                   "generator_predictions", "head", "lm_head", "logits_proj", "pooler", "pre_classifier", "score",
                   "sequence_summary", "vocab_layer_norm", "vocab_projector", "vocab_transform"})  # fmt: skip
"""Modules after an encoder's last layer."""
EMBEDDINGS = frozenset({"embeddings", "embeddings_project", "embed_tokens", "embed_positions", "layernorm_embedding", "shared",
                        "word_embedding", "wpe", "wte"})  # fmt: skip
"""Modules before an encoder's first layer."""
BUFFERS = ("position_ids", "token_type_ids")
"""Last part of the names of stored tensors that are no parameters."""


@dataclass(frozen=True)
class ParameterCounts:
    """Numbers in a model's weights, by part."""

    embeddings: int
    """Tables of tokens, positions and token types, with their norm and projection."""
    encoder: int
    """Layers, and what they share."""
    head: int
    """Pooler and classifier."""

    @property
    def total(self) -> int:
        """All parameters."""
        return self.embeddings + self.encoder + self.head


def count_parameters(model: str) -> ParameterCounts:
    """Parameters of a model folder, shared ones once, without loading them. Raises ModelError without safetensors weights."""
    from safetensors import safe_open

    counts = {"embeddings": 0, "encoder": 0, "head": 0}
    with local_folder(model) as folder:
        for file in check_weights(folder):
            with safe_open(str(file), framework="numpy") as weights:
                for name in weights.keys():  # noqa: SIM118 - not a mapping
                    if not name.endswith(BUFFERS):
                        counts[_part_of(name)] += math.prod(weights.get_slice(name).get_shape())
    return ParameterCounts(**counts)


def _part_of(name: str) -> str:
    """The part that a weight belongs to, by its name."""
    modules = name.split(".")[:-1]
    if not EMBEDDINGS.isdisjoint(modules):
        return "embeddings"
    if NUMBERED_LAYER.search(name):
        return "encoder"
    return "encoder" if HEADS.isdisjoint(modules) else "head"
