"""New classifiers with random weights, built from a shape."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from raykd.models.model_code import import_model_code

if TYPE_CHECKING:
    from transformers import PreTrainedModel

Architecture = Literal["bert", "distilbert", "roberta"]


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """Sizes of a new encoder; its feed-forward layers are four times as wide as ``hidden``."""

    architecture: Architecture = "bert"
    vocab_size: int
    hidden: int
    layers: int
    heads: int
    positions: int = 128
    """Tokens a row may have; RoBERTa's two extra rows are added."""
    dropout: float = 0.1
    pad_token_id: int = 0
    initializer_range: float = 0.02
    """Standard deviation of new weights."""


def build_classifier(shape: ModelShape, *, labels: Sequence[str], seed: int) -> "PreTrainedModel":
    """A new classifier whose random weights depend on ``seed`` alone. torch's global generator is left as it was."""
    import_model_code()
    import torch
    from transformers import AutoModelForSequenceClassification

    config = _new_config(shape)
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: index for index, name in enumerate(labels)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)


def _new_config(shape: ModelShape) -> Any:
    from transformers import BertConfig, DistilBertConfig, RobertaConfig

    common = {
        "vocab_size": shape.vocab_size, "pad_token_id": shape.pad_token_id, "initializer_range": shape.initializer_range,
    }  # fmt: skip
    dropout = shape.dropout
    if shape.architecture == "distilbert":
        return DistilBertConfig(
            **common, dim=shape.hidden, hidden_dim=4 * shape.hidden, n_layers=shape.layers, n_heads=shape.heads,
            max_position_embeddings=shape.positions, dropout=dropout, attention_dropout=dropout, seq_classif_dropout=dropout,
        )  # fmt: skip
    roberta = shape.architecture == "roberta"
    kind, extra = (RobertaConfig, shape.pad_token_id + 1) if roberta else (BertConfig, 0)
    return kind(
        **common, hidden_size=shape.hidden, intermediate_size=4 * shape.hidden, num_hidden_layers=shape.layers,
        num_attention_heads=shape.heads, max_position_embeddings=shape.positions + extra, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout, type_vocab_size=1 if roberta else 2,
    )  # fmt: skip
