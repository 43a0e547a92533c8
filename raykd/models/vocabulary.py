"""Smaller vocabularies: a tokenizer without the tokens that a text does not use, which still encodes every text.

A WordPiece or Unigram vocabulary can lose tokens. Where all pieces of a text stay, the pieces are the same as before: WordPiece
takes the longest piece at each position and Unigram the pieces of the highest summed score, and the best of all choices stays
the best of fewer. A text with a dropped piece is spelled by shorter ones, down to single characters, which always stay.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from raykd.data import storage
from raykd.data.tokenised_set import TokenisedSet
from raykd.data.tokenizer_files import open_tokenizer
from raykd.errors import ModelError

Ids = npt.NDArray[np.int64]
KEPT = "kept_tokens.json"
"""File of a reduced vocabulary's folder: old ids in the order of the new ones."""
BYTE = re.compile(r"<0x[0-9A-F]{2}>")
"""A piece that stands for one byte of a character without a piece."""
_REASONS = {
    "BPE": "BPE builds each token by merging shorter ones, so that leaving one out changes how other words are split",
    "WordLevel": "a WordLevel vocabulary has no shorter pieces to spell a dropped word with",
}
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
_BATCH = 1000


def check_reducible(tokenizer: Any, config: Any, *, name: str) -> None:
    """Refuse a tokenizer whose vocabulary cannot be reduced. ``config`` is the model's configuration.

    Raises ModelError: neither WordPiece nor Unigram, no unknown token, a special token that the embedding table lacks, or no
    padding token where the model finds its positions by it.
    """
    model = _pipeline(tokenizer)["model"]
    kind = model["type"]
    if kind not in ("WordPiece", "Unigram"):
        reason = _REASONS.get(kind, "its tokens may depend on each other")
        raise ModelError(
            f"the vocabulary of {name} is {kind} and cannot be reduced: {reason}; leave vocabulary out, or take a model with a "
            "WordPiece or Unigram vocabulary"
        )
    if _unknown_id(model) is None:
        raise ModelError(
            f"the tokenizer of {name} has no unknown token in its vocabulary, which a smaller vocabulary needs; leave "
            "vocabulary out, or take another model"
        )
    table = int(config.vocab_size)
    added = {token.content: index for index, token in tokenizer.added_tokens_decoder.items()}
    named = {**added, **_special_ids(tokenizer), **token_ids_of(config)}
    lost = {key: index for key, index in named.items() if not 0 <= index < table}
    if lost:
        key, index = next(iter(lost.items()))
        raise ModelError(
            f"{name} has {key} = {index}, but its embedding table has {table} rows: a reduced vocabulary would lose that "
            "special token; correct config.json, or leave vocabulary out"
        )
    _first_position(config)


def tokens_to_keep(tokenizer: Any, config: Any, counts: Ids, *, min_count: int) -> Ids:
    """Ids, ascending, of the tokens that stay: those with ``counts[id] >= min_count``, and those that every text may need.

    The latter are special and added tokens, the unknown token, single characters and bytes, longer tokens with a character that
    has no token of its own, and all ids up to the padding token of models whose positions start after it.
    """
    model, vocabulary = _pipeline(tokenizer)["model"], tokenizer.get_vocab()
    kept = {index for index in range(len(counts)) if counts[index] >= min_count}
    kept |= set(_special_ids(tokenizer).values()) | set(token_ids_of(config).values()) | set(tokenizer.added_tokens_decoder)
    kept |= {index for token, index in _entries(model) if _is_needed(token, model, vocabulary)}
    kept |= set(range(_first_position(config)))
    unknown = _unknown_id(model)
    if unknown is not None:
        kept.add(unknown)
    if model["type"] == "Unigram":  # the score of an unknown character depends on the lowest one
        kept.add(min(range(len(model["vocab"])), key=lambda index: model["vocab"][index][1]))
    return np.array(sorted(index for index in kept if index < int(config.vocab_size)), np.int64)


def token_ids_of(config: Any) -> dict[str, int]:
    """The token ids that a model's configuration names, by key; lists are left out."""
    return {key: value for key, value in config.to_dict().items() if key.endswith("_token_id") and type(value) is int}


def save_vocabulary(tokenizer: Any, kept: Ids, folder: str, *, name: str) -> None:
    """Write a tokenizer with the tokens ``kept`` into a local folder, and the old ids of its tokens.

    Raises ModelError when transformers does not read it back as written.
    """
    new_ids = {int(old): new for new, old in enumerate(kept)}
    tokenizer.save_pretrained(folder)
    for file in Path(folder).iterdir():
        if file.name not in _TOKENIZER_FILES:  # a vocabulary in another format would be the old one
            file.unlink()
    path = Path(folder, "tokenizer.json")
    pipeline = _reduced(json.loads(path.read_text(encoding="utf-8")), new_ids)
    path.write_text(json.dumps(pipeline, ensure_ascii=False, indent=2), encoding="utf-8")
    settings = Path(folder, "tokenizer_config.json")
    content = json.loads(settings.read_text(encoding="utf-8"))
    if "added_tokens_decoder" in content:
        content["added_tokens_decoder"] = {str(new_ids[int(old)]): one for old, one in content["added_tokens_decoder"].items()}
        settings.write_text(json.dumps(content, ensure_ascii=False, indent=2), encoding="utf-8")
    Path(folder, KEPT).write_text(json.dumps([int(old) for old in kept]), encoding="utf-8")
    vocabulary = {token: new_ids[old] for token, old in tokenizer.get_vocab().items() if old in new_ids}
    if open_tokenizer(folder, name=name).get_vocab() != vocabulary:
        raise ModelError(f"transformers does not read the reduced tokenizer of {name} as it was written; leave vocabulary out")


def read_kept_tokens(folder: str) -> Ids:
    """Old ids of the tokens of a reduced vocabulary, in the order of their new ids."""
    return np.array(storage.read_json(storage.join(folder, KEPT)), np.int64)


def count_tokens(sets: Sequence[TokenisedSet], size: int) -> Ids:
    """Number of times each of ``size`` token ids stands in tokenised rows."""
    counts = np.zeros(size, np.int64)
    for rows in sets:
        for group in range(len(rows.group_rows)):
            for chunk in rows.read_group(group, ["input_ids"])["input_ids"].chunks:
                counts += np.bincount(chunk.flatten().to_numpy(), minlength=size)
    return counts


def count_tokens_of_texts(tokenizer: Any, texts: Iterable[str], size: int) -> Ids:
    """Number of times each of ``size`` token ids stands in texts, without the tokens around a text."""
    counts = np.zeros(size, np.int64)
    for batch in _batches(texts):
        for ids in tokenizer(batch, add_special_tokens=False, truncation=False, verbose=False)["input_ids"]:
            counts += np.bincount(np.array(ids, np.int64), minlength=size)
    return counts


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    for text in texts:
        batch.append(text)
        if len(batch) == _BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def _pipeline(tokenizer: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads(tokenizer.backend_tokenizer.to_str())
    return content


def _entries(model: Mapping[str, Any]) -> Iterable[tuple[str, int]]:
    """Token and id of each entry of a vocabulary."""
    if model["type"] == "WordPiece":
        return list(model["vocab"].items())
    return [(piece, index) for index, (piece, _) in enumerate(model["vocab"])]


def _unknown_id(model: Mapping[str, Any]) -> int | None:
    """The id that unknown characters get."""
    found = model["vocab"].get(model["unk_token"]) if model["type"] == "WordPiece" else model["unk_id"]
    return None if found is None else int(found)


def _special_ids(tokenizer: Any) -> dict[str, int]:
    """Ids of the special tokens, by their setting."""
    named = ((f"{setting}_id", getattr(tokenizer, f"{setting}_id", None)) for setting in tokenizer.special_tokens_map)
    return {key: index for key, index in named if isinstance(index, int)}


def _is_needed(token: str, model: Mapping[str, Any], vocabulary: Mapping[str, int]) -> bool:
    """True for a single character, a byte, or a token with a character that cannot be spelled alone."""
    if model.get("byte_fallback") and BYTE.fullmatch(token):
        return True
    prefix = model.get("continuing_subword_prefix", "")
    if prefix and token.startswith(prefix):
        characters = [prefix + character for character in token.removeprefix(prefix)]
    else:
        characters = [*token[:1], *(prefix + character for character in token[1:])]
    return len(characters) < 2 or not vocabulary.keys() >= set(characters)


def _first_position(config: Any) -> int:
    """Number of ids that must keep their place, since the model finds padding by them."""
    from raykd.models.inputs import first_position

    return first_position(config)


def _reduced(pipeline: dict[str, Any], new_ids: Mapping[int, int]) -> dict[str, Any]:
    """The tokenizer's JSON with the tokens that have a new id, and all ids replaced."""
    model = pipeline["model"]
    if model["type"] == "WordPiece":
        model["vocab"] = {token: new_ids[old] for token, old in model["vocab"].items() if old in new_ids}
    else:
        model["vocab"] = [entry for index, entry in enumerate(model["vocab"]) if index in new_ids]
        model["unk_id"] = new_ids[model["unk_id"]]
    for token in pipeline["added_tokens"]:
        token["id"] = new_ids[token["id"]]
    if pipeline.get("padding"):
        pipeline["padding"]["pad_id"] = new_ids[pipeline["padding"]["pad_id"]]
    if pipeline.get("post_processor"):
        _replace_ids(pipeline["post_processor"], new_ids)
    return pipeline


def _replace_ids(processor: dict[str, Any], new_ids: Mapping[int, int]) -> None:
    """Replace the ids of the special tokens that a post-processor adds."""
    for inner in processor.get("processors", ()):
        _replace_ids(inner, new_ids)
    for key in ("sep", "cls"):
        if key in processor:
            token, old = processor[key]
            processor[key] = [token, new_ids[old]]
    if processor["type"] == "TemplateProcessing":
        for special in processor["special_tokens"].values():
            special["ids"] = [new_ids[old] for old in special["ids"]]
