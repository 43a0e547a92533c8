"""Models of every architecture on a few rows before training, and in a stock pipeline after it."""

import json

import pytest
import torch
from transformers import AutoModelForMaskedLM, pipeline

from raykd.data.tokenizer import load_row_tokenizer
from raykd.errors import ConfigError, ModelError
from raykd.models import (
    check_sequence_length,
    fit_tokenizer,
    load_classifier,
    load_config,
    load_tokenizer,
    max_sequence_length,
    probe_classifier,
    row_logits,
    save_classifier,
    verify_saved_classifier,
)
from tests.unit.models.architectures import ARCHITECTURES, COUNTING, LABELS, ROWS, pretrained, tokenizer_of, wordpiece

PAIRS = [(ROWS[0], ROWS[1]), (ROWS[2], ROWS[3]), ("", ROWS[3])]
TEXTS = [*ROWS, *PAIRS, (ROWS[1], "")]


def _logits(folder, texts=TEXTS):
    classifier, tokenizer = load_classifier(folder, labels=LABELS), load_tokenizer(folder)
    with torch.inference_mode():
        return row_logits(classifier, tokenizer, texts, sequence_length=48)


def _edit(folder, file="config.json", **values):
    path = f"{folder}/{file}"
    with open(path) as stream:
        content = {**json.load(stream), **values}
    with open(path, "w") as stream:
        json.dump({name: value for name, value in content.items() if value is not ...}, stream)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_every_architecture_trains_and_is_the_same_in_a_stock_pipeline(tmp_path, kind):
    folder = pretrained(tmp_path / "model", kind)
    saved = str(tmp_path / "saved")
    save_classifier(load_classifier(folder, labels=LABELS), load_tokenizer(folder), saved)
    for texts in [ROWS, PAIRS] if kind in COUNTING else [TEXTS]:
        probe_classifier(folder, texts, labels=LABELS, sequence_length=48)
        verify_saved_classifier(saved, texts, _logits(folder, texts), sequence_length=48)
        with pytest.raises(ModelError, match="gives other logits for"):
            verify_saved_classifier(saved, texts, _logits(folder, texts) + 0.1, sequence_length=48)
    classify = pipeline("text-classification", model=saved, device="cpu")
    assert len(classify(ROWS, batch_size=1 if kind == "xlnet" else 4)) == len(ROWS)  # XLNet's memory stops a stock batch


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_the_longest_row_works(tmp_path, kind):
    folder = pretrained(tmp_path / "model", kind)
    config = load_config(folder)
    limit = max_sequence_length(config)
    if limit is None:
        check_sequence_length(config, 10_000, model=folder)
        return
    classifier = load_classifier(folder, labels=LABELS)
    ids = torch.full((1, limit), 6)
    ids[0, -1] = getattr(config, "eos_token_id", None) or 6
    classifier(ids)


@pytest.mark.parametrize("kind", ["gpt2", "distilbert", "mpnet", "roberta"])
def test_a_saved_tokenizer_adds_no_input_that_training_drops(tmp_path, kind):
    """Chinese GPT-2s come with a BERT tokenizer, whose token types a stock pipeline would add to the embeddings."""
    folder = pretrained(tmp_path / "model", kind, tokenizer=wordpiece())
    _edit(folder, pad_token_id=0)
    save_classifier(load_classifier(folder, labels=LABELS), load_tokenizer(folder), str(tmp_path / "saved"))
    assert load_tokenizer(str(tmp_path / "saved")).model_input_names == ["input_ids", "attention_mask"]
    verify_saved_classifier(str(tmp_path / "saved"), TEXTS, _logits(folder), sequence_length=48)


def test_a_tokenizer_that_adds_an_input_is_found(tmp_path):
    folder = pretrained(tmp_path / "model", "gpt2", tokenizer=wordpiece())
    _edit(folder, pad_token_id=0)
    with pytest.raises(ModelError, match="gives other logits"):
        verify_saved_classifier(folder, TEXTS, _logits(folder), sequence_length=48)


@pytest.mark.parametrize("in_config", [None, 5])
def test_the_padding_token_is_the_tokenizers(tmp_path, in_config):
    """GPT-2 finds the last token of a row by it."""
    folder = pretrained(tmp_path / "model", "gpt2", tokenizer=wordpiece())
    _edit(folder, pad_token_id=in_config)
    probe_classifier(folder, TEXTS, labels=LABELS, sequence_length=48)
    classifier, tokenizer = load_classifier(folder, labels=LABELS), load_tokenizer(folder)
    assert classifier.config.pad_token_id == tokenizer.pad_token_id == 0
    save_classifier(classifier, tokenizer, str(tmp_path / "saved"))
    assert load_config(str(tmp_path / "saved")).pad_token_id == 0


def test_no_padding_token_anywhere(tmp_path):
    folder = pretrained(tmp_path / "model", "gpt2")
    _edit(folder, "tokenizer_config.json", pad_token=...)
    with pytest.raises(ModelError, match="no padding token; set pad_token in its tokenizer_config"):
        probe_classifier(folder, ROWS, labels=LABELS, sequence_length=48)


def test_an_end_token_in_a_row_does_not_stop_bart(tmp_path):
    folder = pretrained(tmp_path / "model", "bart")
    probe_classifier(folder, [*ROWS, "good </s> film"], labels=LABELS, sequence_length=48)


def test_a_package_that_the_configuration_asks_for_is_named(tmp_path):
    folder = pretrained(tmp_path / "model", "bert")
    _edit(folder, quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True})
    with pytest.raises(ModelError, match=r"needs a package that is not installed: .*bitsandbytes"):
        probe_classifier(folder, ROWS, labels=LABELS, sequence_length=48)


def test_what_a_models_code_raises_is_a_sentence(tmp_path, monkeypatch):
    from transformers import BertForSequenceClassification

    folder = pretrained(tmp_path / "model", "bert")

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None):
        raise IndexError("index out of range in self")

    monkeypatch.setattr(BertForSequenceClassification, "forward", forward)
    with pytest.raises(ModelError, match=r"cannot classify the first rows \(IndexError: index out of range"):
        probe_classifier(folder, ROWS, labels=LABELS, sequence_length=48)


def test_a_model_that_reads_padding_is_refused(tmp_path, monkeypatch):
    from transformers import BertForSequenceClassification

    folder = pretrained(tmp_path / "model", "bert")
    stock = BertForSequenceClassification.forward

    def forward(self, input_ids=None, attention_mask=None, token_type_ids=None):
        return stock(self, input_ids, torch.ones_like(input_ids), token_type_ids)

    monkeypatch.setattr(BertForSequenceClassification, "forward", forward)
    with pytest.raises(ModelError, match="when a row is padded to the length of its batch"):
        probe_classifier(folder, ROWS, labels=LABELS, sequence_length=48)


def test_logits_that_are_not_finite(tmp_path):
    folder = pretrained(tmp_path / "model", "bert")
    classifier = load_classifier(folder, labels=LABELS)
    classifier.classifier.weight.data.fill_(float("inf"))
    save_classifier(classifier, load_tokenizer(folder), str(tmp_path / "saved"))
    with pytest.raises(ModelError, match="not finite"):
        probe_classifier(str(tmp_path / "saved"), ROWS, labels=LABELS, sequence_length=48)


def test_the_random_state_is_left_as_it_was(tmp_path):
    folder = pretrained(tmp_path / "model", "bert")
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    probe_classifier(folder, ROWS, labels=LABELS, sequence_length=48)
    assert torch.equal(torch.rand(2), expected)


@pytest.mark.parametrize("kind", ["bert", "roberta", "xlm-roberta", "mpnet", "electra", "distilbert", "deberta-v2"])
def test_a_masked_language_model_has_no_unused_encoder_weights(tmp_path, kind, caplog):
    folder = pretrained(tmp_path / "model", kind, auto=AutoModelForMaskedLM)
    with caplog.at_level("INFO", logger="raykd"):
        load_classifier(folder, labels=LABELS)
    assert "new weights for" in caplog.text
    assert "not used" not in caplog.text


def test_fitting_keeps_the_token_types_of_a_model_that_has_them(tmp_path):
    folder = pretrained(tmp_path / "model", "bert")
    tokenizer = load_tokenizer(folder)
    fit_tokenizer(tokenizer, load_classifier(folder, labels=LABELS))
    assert tokenizer.model_input_names == tokenizer_of("bert").model_input_names
    assert tokenizer.model_max_length == 64


def test_two_labels_with_generic_names_are_saved(tmp_path):
    """transformers leaves them out of config.json, and BART's default is three."""
    folder = pretrained(tmp_path / "model", "bart")
    names = ("LABEL_0", "LABEL_1")
    classifier = load_classifier(folder, labels=LABELS)
    classifier.config.id2label, classifier.config.label2id = dict(enumerate(names)), {"LABEL_0": 0, "LABEL_1": 1}
    save_classifier(classifier, load_tokenizer(folder), str(tmp_path / "saved"))
    assert load_classifier(str(tmp_path / "saved"), labels=names).config.num_labels == 2


def test_rows_are_padded_on_the_side_that_the_model_does_not_read(tmp_path):
    for kind, side in (("xlnet", "left"), ("gpt2", "right")):
        folder = pretrained(tmp_path / kind, kind)
        assert load_row_tokenizer(folder, str(tmp_path / "cache")).padding_side == side
        tokenizer = load_tokenizer(folder)
        tokenizer.padding_side = "left"
        save_classifier(load_classifier(folder, labels=LABELS), tokenizer, str(tmp_path / "saved"))
        assert load_tokenizer(str(tmp_path / "saved")).padding_side == side


def test_a_model_that_cannot_checkpoint_its_activations_is_found(tmp_path):
    folder = pretrained(tmp_path / "model", "mpnet")
    with pytest.raises(ConfigError, match=r"gradient_checkpointing = true, but .*model is of type mpnet"):
        probe_classifier(folder, ROWS, labels=LABELS, sequence_length=48, gradient_checkpointing=True)
    with pytest.raises(ConfigError, match="but the student is of type mpnet"):
        probe_classifier(folder, ROWS, labels=LABELS, sequence_length=48, gradient_checkpointing=True, name="the student")
    probe_classifier(
        pretrained(tmp_path / "bert", "bert"), ROWS, labels=LABELS, sequence_length=48, gradient_checkpointing=True
    )
