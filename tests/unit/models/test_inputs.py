"""The lengths that a model takes."""

from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import (
    PreTrainedTokenizerFast,
)

from raykd.errors import ModelError
from raykd.models import (
    build_classifier,
    check_sequence_length,
    load_classifier,
    load_config,
    max_sequence_length,
    save_classifier,
)

LABELS = ("bad", "good")


WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *("the", "film", "is", "not", "very", "good", "bad", "great", "poor", "a"),
]


SHAPE = {"vocab_size": len(WORDS), "hidden": 16, "layers": 2, "heads": 2, "seed": 3, "positions": 32}


def _tokenizer():
    core = Tokenizer(models.WordPiece({word: index for index, word in enumerate(WORDS)}, unk_token="[UNK]"))
    core.normalizer = normalizers.BertNormalizer(lowercase=True)
    core.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return PreTrainedTokenizerFast(tokenizer_object=core, unk_token="[UNK]", pad_token="[PAD]", cls_token="[CLS]",
                                   sep_token="[SEP]", mask_token="[MASK]")  # fmt: skip


def _save(folder: Path, architecture: str = "bert", labels=LABELS, **shape) -> Path:
    save_classifier(build_classifier(architecture, labels=labels, **{**SHAPE, **shape}), _tokenizer(), str(folder))
    return folder


@pytest.mark.parametrize(("architecture", "limit"), [("bert", 32), ("distilbert", 32), ("roberta", 32)])
def test_sequence_length_is_bounded_by_the_positions(tmp_path, architecture, limit):
    folder = _save(tmp_path / "model", architecture)
    config = load_config(str(folder))
    assert max_sequence_length(config) == limit
    check_sequence_length(config, limit)
    with pytest.raises(ModelError, match="33 is over the 32 positions"):
        check_sequence_length(config, limit + 1)
    model = load_classifier(str(folder), labels=LABELS)
    model(torch.full((1, limit), 6))  # the limit itself works
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, limit + 1), 6))
