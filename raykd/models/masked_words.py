"""Words that a masked language model predicts in place of masked ones."""

import functools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from raykd.data.views import Words
from raykd.errors import ModelError
from raykd.models.classifiers import load_config
from raykd.models.model_code import import_model_code
from raykd.models.tokenizers import load_tokenizer

TOP_K = 15
"""Most probable words that one is drawn from; Jiao et al. 2020, arXiv:1909.10351, appendix A."""
BATCH_TEXTS = 64
_WORD_STARTS = ("Ġ", "▁")
"""Marks of a token that begins a word, in byte-level and SentencePiece vocabularies."""


@dataclass(frozen=True)
class MaskedWords:
    """Replaces each masked word by one of the :data:`TOP_K` most probable whole words, all of a text in one forward pass."""

    model: str
    """Folder or name of a masked language model."""
    digest: str
    """Hash of its weights."""

    @property
    def identity(self) -> dict[str, Any]:
        """The weights."""
        return {"masked_lm": self.digest, "top_k": TOP_K}

    def fill(self, texts: Sequence[Words], draws: Sequence[random.Random]) -> list[Words]:
        """The texts with words in place of None; masked words beyond the model's longest input are left out."""
        model, tokenizer, whole_words = _load(self.model)
        filled: list[Words] = []
        for start in range(0, len(texts), BATCH_TEXTS):
            chosen = texts[start : start + BATCH_TEXTS]
            predicted = _predict(model, tokenizer, whole_words, chosen)
            for words, candidates, draw in zip(chosen, predicted, draws[start : start + BATCH_TEXTS], strict=True):
                found = (_spelling(tokenizer, one[int(draw.random() * len(one))]) for one in candidates)
                replaced = [next(found, None) if word is None else word for word in words]
                filled.append(tuple(word for word in replaced if word is not None))
        return filled


def check_masked_lm(name: str) -> None:
    """Raise ModelError for a model that predicts no masked words, or has the tokenizer of another."""
    config, tokenizer = load_config(name), load_tokenizer(name)
    if not any(one.endswith("ForMaskedLM") for one in config.architectures or ()):
        found = ", ".join(config.architectures or ()) or "no architecture"
        raise ModelError(
            f"augment.masked_lm = {name} is no masked language model, but has {found}; give one that predicts words"
        )
    if tokenizer.mask_token is None:
        raise ModelError(f"augment.masked_lm = {name}: its tokenizer has no mask token; give the tokenizer of the model")


@functools.lru_cache(maxsize=1)
def _load(name: str) -> tuple[Any, Any, Tensor]:
    """The model, its tokenizer, and which of its tokens are whole words, ``[V]`` bool. Once per process."""
    import_model_code()
    from transformers import AutoModelForMaskedLM

    model = AutoModelForMaskedLM.from_pretrained(name, dtype=torch.float32, use_safetensors=True, trust_remote_code=False)
    tokenizer = load_tokenizer(name)
    tokens = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    marks = tuple(mark for mark in _WORD_STARTS if any(token.startswith(mark) for token in tokens))
    words = [token.startswith(marks) and token[1:].isalpha() if marks else token.isalpha() for token in tokens]
    whole = torch.tensor(words + [False] * (model.config.vocab_size - len(words)))
    whole[tokenizer.all_special_ids] = False
    return model.eval(), tokenizer, whole


@torch.inference_mode()
def _predict(model: Any, tokenizer: Any, whole_words: Tensor, texts: Sequence[Words]) -> Iterator[list[list[int]]]:
    """For each text the candidates of each masked word that fits into the model's input, as token ids."""
    spelled = [" ".join(tokenizer.mask_token if word is None else word for word in words) for words in texts]
    longest = min(tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", 512) - 2)
    inputs = tokenizer(spelled, padding=True, truncation=True, max_length=longest, return_tensors="pt")
    logits = model(**inputs).logits.masked_fill(~whole_words, -torch.inf)  # [B, L, V]
    masked = inputs["input_ids"] == tokenizer.mask_token_id  # [B, L]
    count = min(TOP_K, int(whole_words.sum()))
    for row, places in enumerate(masked):
        yield logits[row, places].topk(count, dim=-1).indices.tolist()


def _spelling(tokenizer: Any, token: int) -> str:
    return str(tokenizer.convert_ids_to_tokens(token)).lstrip("".join(_WORD_STARTS))
