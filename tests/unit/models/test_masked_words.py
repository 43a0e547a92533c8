"""Words of a masked language model in place of masked ones."""

import random
import shutil
from pathlib import Path

import pytest
import torch

from raykd.data.views import ViewSettings, Words
from raykd.errors import ModelError
from raykd.models import model_digest
from raykd.models.masked_words import MaskedWords, check_masked_lm

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film", "##s", "7", "book"]


@pytest.fixture(scope="module")
def masked_lm(tmp_path_factory: pytest.TempPathFactory) -> str:
    from transformers import BertConfig, BertForMaskedLM, BertTokenizerFast

    folder = tmp_path_factory.mktemp("masked") / "lm"
    torch.manual_seed(1)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    model = BertForMaskedLM(BertConfig(vocab_size=len(WORDS), max_position_embeddings=16, **sizes))
    model.save_pretrained(folder)
    BertTokenizerFast(vocab={word: index for index, word in enumerate(WORDS)}, model_max_length=16).save_pretrained(folder)
    return str(folder)


def test_masked_words_become_whole_words_of_the_vocabulary(masked_lm: str) -> None:
    check_masked_lm(masked_lm)
    filler = MaskedWords(masked_lm, model_digest(masked_lm))
    texts: list[Words] = [("good", None, "film"), (None,), ("book", None, None)] * 40
    filled = filler.fill(texts, [random.Random(number) for number in range(len(texts))])
    for before, after in zip(texts, filled, strict=True):
        assert len(before) == len(after)
        assert all(
            new == old if old else new in {"good", "bad", "film", "book"} for old, new in zip(before, after, strict=True)
        )
    assert len({words for words in filled if len(words) == 1}) == 4, "drawn from the most probable ones"
    assert filler.fill(texts, [random.Random(number) for number in range(len(texts))]) == filled


def test_words_beyond_the_models_input_are_left_out(masked_lm: str) -> None:
    (words,) = MaskedWords(masked_lm, "").fill([("good",) * 20 + (None, "film")], [random.Random(1)])
    assert words == ("good",) * 20 + ("film",)


def test_views_with_words_of_a_model(masked_lm: str) -> None:
    filler = MaskedWords(masked_lm, "digest")
    settings = ViewSettings(views=3, mask=0.6, drop=0.0, ngram=0.0, seed=1, filler=filler)
    views = list(settings.of([("good film", "bad book book")], [(0, 0)]))
    assert views
    assert all(None not in words for view in views for words in view.texts)
    assert settings.identity["filler"] == {"masked_lm": "digest", "top_k": 15}


def test_another_models_tokenizer_is_refused(masked_lm: str, tmp_path: Path) -> None:
    from transformers import BertTokenizerFast

    other = tmp_path / "other"
    shutil.copytree(masked_lm, other)
    vocabulary = {word: index for index, word in enumerate([*WORDS, *map(str, range(100, 150))])}
    BertTokenizerFast(vocab=vocabulary).save_pretrained(other)
    with pytest.raises(ModelError, match="61 tokens, but the model's embedding table only 11 rows"):
        check_masked_lm(str(other))
