"""Requirements of feature distillation on a teacher and a student, checked from their folders before anything starts."""

import dataclasses
from typing import Any

from raykd.config.features import FeatureLossConfig
from raykd.data.tokenizer import RowTokenizer, load_row_tokenizer
from raykd.errors import ConfigError, ModelError
from raykd.models import load_config
from raykd.trainers.features.encoder_outputs import attention_is_replaceable, attention_refusal
from raykd.trainers.features.layer_map import layer_map
from raykd.trainers.features.loss_terms import attention_terms, term_weights


def check_teacher_and_student(
    teacher: str,
    student: str,
    *,
    losses: FeatureLossConfig,
    cache: str,
    names: tuple[str, str],
    pairs: bool = False,
    unpadded: bool = False,
) -> None:
    """Check that a student can learn from a teacher's features; ``names`` are the keys of the two in the configuration.

    ``pairs``: rows have a second text, which some models distinguish from the first by ``token_type_ids``. ``unpadded``: the
    models run without padding.

    Raises ConfigError for layers that cannot be mapped, relation heads that do not divide the widths, two tokenizers, and
    losses on attention without padding; ModelError for folders that do not open and models whose attention cannot be replaced.
    """
    configs = [load_config(model) for model in (teacher, student)]
    layer_map(losses.layers, teacher=int(configs[0].num_hidden_layers), student=int(configs[1].num_hidden_layers))
    on_attention = attention_terms(term_weights(losses))
    if on_attention and unpadded:
        raise ConfigError(
            f"compute.attention = unpadded computes attention without the scores, queries, keys and values of each row that "
            f"{' and '.join(f'{term}_weight' for term in on_attention)} of student.intermediate need; set "
            f"{'it' if len(on_attention) == 1 else 'them'} to 0, or compute.attention to padded"
        )
    if on_attention:
        for name, model, config in zip(names, (teacher, student), configs, strict=True):
            if not attention_is_replaceable(_model_class(config)):
                raise ModelError(attention_refusal(f"{name} = {model}", config.model_type, terms=on_attention))
    if losses.relation_weight:
        relation_heads(losses.relation_heads, student=configs[1], teacher=configs[0])
    _check_tokenizers(load_row_tokenizer(teacher, cache), load_row_tokenizer(student, cache), (teacher, student), names, pairs)


def _check_tokenizers(
    teacher: RowTokenizer, student: RowTokenizer, models: tuple[str, str], names: tuple[str, str], pairs: bool
) -> None:
    """Raise ConfigError unless the student's tokens are what the teacher reads; its rows are tokenised for the student."""
    if pairs and teacher.has_token_types and not student.has_token_types:
        raise ConfigError(
            f"{names[0]} = {models[0]} distinguishes the two texts of a pair by token_type_ids, which {names[1]} = {models[1]} "
            "does not use; take a student with token_type_ids, or distil logits alone"
        )
    same = [dataclasses.replace(one, has_token_types=False).fingerprint for one in (teacher, student)]
    if same[0] != same[1]:
        raise ConfigError(
            f"{names[0]} = {models[0]} and {names[1]} = {models[1]} have different tokenizers: hidden states and "
            "attention of one token cannot be compared; take models with one vocabulary"
        )


def relation_heads(given: int | None, *, student: Any, teacher: Any) -> int:
    """The number of relation heads for two model configurations.

    None takes the largest common divisor of the attention widths that is not above the teacher's attention heads. Raises
    ConfigError when a given number does not divide them.
    """
    widths = sorted(_attention_widths(student) | _attention_widths(teacher))
    fitting = [heads for heads in range(1, widths[0] + 1) if all(width % heads == 0 for width in widths)]
    if given is None:
        return max(heads for heads in fitting if heads <= teacher.num_attention_heads)
    if given not in fitting:
        raise ConfigError(
            f"relation_heads = {given} does not divide the attention widths {', '.join(map(str, widths))} of teacher and "
            f"student; take one of {', '.join(map(str, fitting))}"
        )
    return given


def _attention_widths(config: Any) -> set[int]:
    """Widths of queries, and of keys and values, with all heads concatenated."""
    heads = int(config.num_attention_heads)
    size = int(getattr(config, "head_dim", None) or config.hidden_size // heads)
    return {heads * size, int(getattr(config, "num_key_value_heads", None) or heads) * size}


def _model_class(config: Any) -> Any:
    from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

    return MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(config), None)
