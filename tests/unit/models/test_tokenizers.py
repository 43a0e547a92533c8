"""Tokenizers of model folders that open or are refused."""

import json
import logging
from pathlib import Path

import pytest
from transformers import (
    BertTokenizerFast,
)

from raykd.data.tokenizer import load_row_tokenizer
from raykd.errors import ModelError
from raykd.models import (
    load_tokenizer,
    save_classifier,
)
from tests.unit.models.small_models import WORDS, save, small_classifier, small_tokenizer


def _edit_config(folder: Path, **values) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_checking_a_tokenizer_warns_of_no_length(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    tokenizer = small_tokenizer()
    tokenizer.model_max_length = 3
    save_classifier(small_classifier(), tokenizer, str(tmp_path / "model"))
    load_tokenizer(str(tmp_path / "model"))
    assert "longer than" not in caplog.text


def test_hub_name_offline_says_what_to_do():
    with pytest.raises(ModelError, match=r"bert-no-such-model.*local model folder"):
        load_tokenizer("bert-no-such-model")


def test_tokenizer_of_a_folder_with_vocab_txt_alone(tmp_path):
    folder = save(tmp_path / "model")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_tokenizer(str(folder))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    assert load_tokenizer(str(folder)).tokenize("The film is not great") == ["the", "film", "is", "not", "great"]


def test_tokenizer_that_lost_its_vocabulary_is_refused(tmp_path):
    folder = save(tmp_path / "model")
    BertTokenizerFast().save_pretrained(folder)  # five special tokens: what transformers makes of a missing vocabulary
    with pytest.raises(ModelError, match="5 tokens for an embedding table of 15 rows"):
        load_tokenizer(str(folder))
    _edit_config(folder, vocab_size=5)
    with pytest.raises(ModelError, match=r"turns every word into \[UNK\]"):
        load_tokenizer(str(folder))


def test_tokenizer_larger_than_the_embedding_table_is_refused(tmp_path):
    folder = save(tmp_path / "model")
    _edit_config(folder, vocab_size=14)
    with pytest.raises(ModelError, match=r"15 tokens.*14 rows"):
        load_tokenizer(str(folder))


def test_tokenizer_without_padding_token_is_refused(tmp_path):
    folder = save(tmp_path / "model")
    tokenizer = small_tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match="no padding token"):
        load_tokenizer(str(folder))


@pytest.mark.parametrize(
    ("file", "content"), [("tokenizer_config.json", '{"tokenizer_class": 3}'), ("tokenizer.json", "{"), ("config.json", "[]")]
)
def test_files_that_hold_no_tokenizer_are_refused(tmp_path, file, content):
    folder = save(tmp_path / "model")
    (folder / file).write_text(content)
    with pytest.raises(ModelError, match="tokenizer"):
        load_tokenizer(str(folder))
    with pytest.raises(ModelError, match="tokenizer"):
        load_row_tokenizer(str(folder), str(tmp_path / "cache"))
