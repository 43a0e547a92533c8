"""Smaller models from larger ones: some encoder layers, some tokens; embeddings, pooler and classifier come along."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raykd.data.tokenizer_files import open_tokenizer
from raykd.errors import ModelError
from raykd.models.classifiers import load_config
from raykd.models.folders import check_weights, local_folder
from raykd.models.saving import replaced_folder
from raykd.models.vocabulary import Ids, read_kept_tokens, token_ids_of

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class EncoderLayout:
    """Names by which an architecture stores its layers and the tables with one row per token."""

    layers: str
    """Path of the numbered layers, below the base model."""
    token_tables: tuple[str, ...]
    """Word embeddings, and the weights of language-model heads."""
    num_layers: str = "num_hidden_layers"
    """Key of the number of layers in config.json."""


_WORDS = "embeddings.word_embeddings.weight"
_ROBERTA = EncoderLayout("encoder.layer", (_WORDS, "lm_head.decoder.weight", "lm_head.decoder.bias", "lm_head.bias"))
LAYOUTS = {
    "bert": EncoderLayout(
        "encoder.layer",
        (_WORDS, "cls.predictions.decoder.weight", "cls.predictions.decoder.bias", "cls.predictions.bias"),
    ),
    "camembert": _ROBERTA,
    "distilbert": EncoderLayout("transformer.layer", (_WORDS, "vocab_projector.weight", "vocab_projector.bias"), "n_layers"),
    "electra": EncoderLayout("encoder.layer", (_WORDS, "generator_lm_head.weight", "generator_lm_head.bias")),
    "modernbert": EncoderLayout("layers", ("embeddings.tok_embeddings.weight", "decoder.weight", "decoder.bias")),
    "mpnet": _ROBERTA,
    "roberta": _ROBERTA,
    "xlm-roberta": _ROBERTA,
}
"""Architectures that layers can be taken from, by ``model_type``."""


def check_layers(config: Any, layers: Sequence[int] | None, *, name: str) -> None:
    """Check that a model has these layers and can do without the others; None takes all. ``name`` is the model in errors.

    Raises ModelError: another architecture, no layer, a layer that does not exist or stands twice, or another order.
    """
    layout = _layout(config, name=name)
    if layers is None:
        return
    given, count = f"layers = {list(layers)}", int(getattr(config, layout.num_layers))
    if not layers:
        raise ModelError(f"{given}: give at least one of the layers 0 to {count - 1} of {name}")
    outside = [layer for layer in layers if not 0 <= layer < count]
    if outside:
        raise ModelError(f"{given}: {name} has {count} layers, 0 to {count - 1}, and no layer {outside[0]}; leave it out")
    if list(layers) != sorted(set(layers)):
        raise ModelError(f"{given}: give each layer once, in ascending order")
    if config.model_type == "modernbert" and layers[0] != 0:
        raise ModelError(
            f"{given}: the first layer of {name} (modernbert) has no norm before its attention, and any other layer would lose "
            "its own there; begin with layer 0"
        )


def shrink_model(source: str, folder: str, *, layers: Sequence[int] | None = None, vocabulary: str | None = None) -> None:
    """Write a model folder with some layers of the model ``source`` and the tokens of a reduced vocabulary.

    ``layers`` are numbers from 0, ascending; None keeps all. ``vocabulary`` is a local folder that
    :func:`~raykd.models.vocabulary.save_vocabulary` wrote for this model's tokenizer; None keeps the tokenizer. Every weight
    outside the layers that are left out stays as it is, rows of dropped tokens excepted. What is in ``folder`` is replaced.

    Raises ModelError: see :func:`check_layers`; or weights whose names do not fit config.json.
    """
    from safetensors.torch import load_file, save_file

    config = load_config(source)
    check_layers(config, layers, name=source)
    layout = _layout(config, name=source)
    chosen = list(layers) if layers is not None else list(range(int(getattr(config, layout.num_layers))))
    kept = None if vocabulary is None else read_kept_tokens(vocabulary)
    with local_folder(source) as own, replaced_folder(folder) as target:
        weights: dict[str, Tensor] = {}
        for file in check_weights(own):
            weights |= load_file(file)
        weights = _with_layers(weights, layout, chosen, name=source)
        if kept is not None:
            weights = _with_tokens(weights, layout, kept, rows=int(config.vocab_size), name=source)
        Path(target).mkdir(parents=True, exist_ok=True)
        open_tokenizer(str(own) if vocabulary is None else vocabulary, name=source).save_pretrained(target)
        content = json.loads((own / "config.json").read_text(encoding="utf-8"))
        content |= _settings(config, layout, chosen, kept)
        Path(target, "config.json").write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
        save_file(weights, Path(target, "model.safetensors"), {"format": "pt"})


def _layout(config: Any, *, name: str) -> EncoderLayout:
    layout = LAYOUTS.get(config.model_type)
    if layout is not None:
        return layout
    reason = "raykd does not know where it stores its layers"
    if config.model_type == "albert":
        reason = "all of its layers have the same weights"
    elif getattr(config, "is_encoder_decoder", False):
        reason = "its decoder reads its encoder"
    raise ModelError(
        f"{name} is of type {config.model_type}, which cannot be made smaller: {reason}; take one of these: "
        f"{', '.join(sorted(LAYOUTS))}"
    )


def _settings(config: Any, layout: EncoderLayout, layers: Sequence[int], kept: Ids | None) -> dict[str, Any]:
    """The keys of config.json that change."""
    settings: dict[str, Any] = {layout.num_layers: len(layers)}
    kinds = getattr(config, "layer_types", None)
    if kinds is not None:
        settings["layer_types"] = [kinds[layer] for layer in layers]
    if kept is not None:
        new_ids = {int(old): new for new, old in enumerate(kept)}
        settings["vocab_size"] = len(kept)
        settings |= {key: new_ids[old] for key, old in token_ids_of(config).items()}
    return settings


def _with_layers(
    weights: Mapping[str, "Tensor"], layout: EncoderLayout, layers: Sequence[int], *, name: str
) -> dict[str, "Tensor"]:
    """The weights with the chosen layers, renumbered."""
    numbered = re.compile(rf"((?:\w+\.)?{re.escape(layout.layers)})\.(\d+)\.(.+)")
    new_numbers = {old: new for new, old in enumerate(layers)}
    found: dict[str, Tensor] = {}
    seen = set()
    for key, tensor in weights.items():
        match = numbered.fullmatch(key)
        if match is None:
            found[key] = tensor
            continue
        path, number, rest = match[1], int(match[2]), match[3]
        if number in new_numbers:
            seen.add(number)
            found[f"{path}.{new_numbers[number]}.{rest}"] = tensor
    if len(seen) < len(layers):
        lacking = next(layer for layer in layers if layer not in seen)
        raise ModelError(
            f"the weights of {name} have no {layout.layers}.{lacking}, which its config.json asks for; give a folder whose "
            "weights and config.json belong together"
        )
    return found


def _with_tokens(
    weights: Mapping[str, "Tensor"], layout: EncoderLayout, kept: Ids, *, rows: int, name: str
) -> dict[str, "Tensor"]:
    """The weights with the rows of the kept tokens."""
    import torch

    chosen = torch.from_numpy(kept)
    tables = tuple(f".{table}" for table in layout.token_tables)
    embeddings = [key for key in weights if f".{key}".endswith(tables[0])]
    if not embeddings or len(weights[embeddings[0]]) != rows:
        raise ModelError(
            f"the weights of {name} have no {layout.token_tables[0]} of {rows} rows, as its config.json says; give a folder "
            "whose weights and config.json belong together"
        )
    return {key: tensor[chosen].clone() if f".{key}".endswith(tables) else tensor for key, tensor in weights.items()}
