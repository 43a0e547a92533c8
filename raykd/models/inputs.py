"""Inputs of a classifier: positions, token types, padding, and the tokenizer that a saved folder is to have."""

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from raykd.data.tokenizer_files import READS_LAST_POSITION, keep_setting
from raykd.errors import ModelError

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

# positions of these begin after the padding index, so the table has that many rows that no token reaches
OFFSET_POSITIONS = frozenset({"roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "roberta-prelayernorm", "xmod",
                              "longformer", "mpnet", "data2vec-text", "ibert"})  # fmt: skip
LAST_TOKEN = frozenset({"biogpt", "bloom", "ctrl", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gptj", "mpt",
                        "modernbert-decoder", "openai-gpt", "opt", "t5gemma", "t5gemma2", "zamba", "zamba2"})  # fmt: skip
"""Model types that classify by the last token other than padding, and have code of their own for it."""


def check_sequence_length(config: Any, sequence_length: int, *, model: str) -> None:
    """Refuse sequences longer than the position table of ``model``. Raises ModelError with its name and both numbers."""
    limit = max_sequence_length(config)
    if limit is not None and sequence_length > limit:
        raise ModelError(
            f"sequence_length {sequence_length} is over the {limit} positions of {model} ({config.model_type}); "
            f"lower it to {limit} or less, or take another model"
        )


def max_sequence_length(config: Any) -> int | None:
    """Most tokens a row may have, special tokens included; None where positions are relative and unbounded."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is None or positions <= 0 or not getattr(config, "position_biased_input", True):
        return None
    return int(positions) - first_position(config)


def first_position(config: Any) -> int:
    """Position of a row's first token: after the padding index in some models. Raises ModelError where that is not known."""
    if config.model_type not in OFFSET_POSITIONS:
        return 0
    if config.model_type == "mpnet":  # its padding index is 1 whatever config.json has
        return 2
    if type(config.pad_token_id) is not int:
        raise ModelError(
            f"config.json of {config.name_or_path or 'the model'} has pad_token_id = {config.pad_token_id}, but a "
            f"{config.model_type} model counts positions from that token; set pad_token_id to the id of its padding token"
        )
    return config.pad_token_id + 1


def takes_token_types(model: "nn.Module") -> bool:
    """True when the model distinguishes the two texts of a pair by ``token_type_ids`` (DistilBERT and RoBERTa do not)."""
    accepted = "token_type_ids" in inspect.signature(model.forward).parameters
    return accepted and getattr(model.config, "type_vocab_size", 0) > 1


def ignore_token_types(model: "nn.Module") -> None:
    """Drop ``token_type_ids`` from a model's inputs, for one that shares batches with a model that takes them."""
    model.register_forward_pre_hook(_without_token_types, with_kwargs=True)


def _without_token_types(_: "nn.Module", args: Any, inputs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    return args, {name: value for name, value in inputs.items() if name != "token_type_ids"}


def share_token_types(models: Sequence["PreTrainedModel"]) -> bool:
    """True when a batch for all models needs ``token_type_ids``, since one takes them; the others then ignore them."""
    takes = [takes_token_types(model) for model in models]
    for model, taken in zip(models, takes, strict=True):
        if any(takes) and not taken:
            ignore_token_types(model)
    return any(takes)


def fit_tokenizer(tokenizer: Any, model: "PreTrainedModel") -> None:
    """Set a tokenizer's inputs, maximum length and padding side to those of raykd's training, also in its saved files.

    A pipeline passes on everything a tokenizer makes: GPT-2 would add the token types of a BERT tokenizer to its embeddings,
    and DistilBERT would refuse them.
    """
    fed = {"input_ids", "attention_mask", *(["token_type_ids"] if takes_token_types(model) else [])}
    names = [name for name in tokenizer.model_input_names if name in fed]
    keep_setting(tokenizer, "model_input_names", names if "attention_mask" in names else [*names, "attention_mask"])
    keep_setting(tokenizer, "padding_side", "left" if model.config.model_type in READS_LAST_POSITION else "right")
    limit = max_sequence_length(model.config)
    if limit is not None and tokenizer.model_max_length > limit:
        tokenizer.model_max_length = limit  # otherwise a pipeline feeds the model more positions than it has


def reads_last_token(model: "PreTrainedModel") -> bool:
    """True when the classifier finds the end of a text by the padding token of its configuration."""
    common = any(kind.__name__ == "GenericForSequenceClassification" for kind in type(model).__mro__)
    return common or model.config.model_type in LAST_TOKEN


def set_padding_token(model: "PreTrainedModel", pad_token_id: int) -> None:
    """Set the padding token of a model's configuration, and of its text part where it has one."""
    for config in (model.config, model.config.get_text_config()):
        config.pad_token_id = pad_token_id
