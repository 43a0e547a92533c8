"""Classifiers that open, and those that are refused."""

import gc
import json
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForSequenceClassification,
    BertForMaskedLM,
)

from raykd.errors import ModelError, list_values
from raykd.models import (
    label_names,
    load_classifier,
    load_tokenizer,
    save_classifier,
)
from tests.unit.models.small_models import LABELS, WORDS, edit_weights, save, small_classifier, small_tokenizer


def _edit_config(folder: Path, **values) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


def test_half_precision_folder_loads_in_float32(tmp_path):
    save_classifier(small_classifier().half(), small_tokenizer(), str(tmp_path / "model"))
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "float16"
    assert {p.dtype for p in load_classifier(str(tmp_path / "model"), labels=LABELS).parameters()} == {torch.float32}


def test_a_masked_language_model_gets_a_new_head_and_pooler(tmp_path, caplog):
    config = small_classifier().config
    BertForMaskedLM(config).save_pretrained(tmp_path)
    with caplog.at_level("INFO", logger="raykd"):
        model = load_classifier(str(tmp_path), labels=("a", "b", "c"))
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert model.config.label2id == {"a": 0, "b": 1, "c": 2}
    assert "bert.pooler.dense.weight" in caplog.text
    assert "classifier.weight" in caplog.text


def test_missing_encoder_weights_are_refused(tmp_path):
    edit_weights(save(tmp_path / "model"), lambda w: {k: v for k, v in w.items() if "layer.1.attention" not in k})
    with pytest.raises(ModelError, match=r"lacks weights.*bert\.encoder\.layer\.1\.attention"):
        load_classifier(str(tmp_path / "model"), labels=LABELS)


def test_half_a_head_is_refused(tmp_path):
    edit_weights(save(tmp_path / "model"), lambda w: {k: v for k, v in w.items() if "pooler" not in k})
    with pytest.raises(ModelError, match=r"lacks weights.*pooler"):
        load_classifier(str(tmp_path / "model"), labels=LABELS)
    edit_weights(save(tmp_path / "other"), lambda w: {k: v for k, v in w.items() if k != "classifier.bias"})
    with pytest.raises(ModelError, match=r"lacks weights.*classifier\.bias"):
        load_classifier(str(tmp_path / "other"), labels=LABELS)


def test_a_wrapped_model_is_refused(tmp_path):
    edit_weights(save(tmp_path / "model"), lambda w: {f"backbone.{k}": v for k, v in w.items()})
    with pytest.raises(ModelError, match=r"its file holds instead backbone\."):
        load_classifier(str(tmp_path / "model"), labels=LABELS)


def test_weights_of_another_shape_are_refused(tmp_path):
    _edit_config(save(tmp_path / "model"), intermediate_size=48)
    with pytest.raises(ModelError, match=r"do not fit its config\.json"):
        load_classifier(str(tmp_path / "model"), labels=LABELS)


def test_the_garbage_collector_is_left_as_it_was(tmp_path, monkeypatch):
    """It pauses while a model opens, which in a first model's case imports a third of a million objects."""
    path = save(tmp_path / "model")
    seen = []

    def opens(*args, **kwargs):
        seen.append(gc.isenabled())
        raise OSError("the disk is gone")

    load_classifier(str(path), labels=LABELS)
    assert gc.isenabled()
    monkeypatch.setattr(AutoModelForSequenceClassification, "from_pretrained", opens)
    with pytest.raises(ModelError, match="the disk is gone"):
        load_classifier(str(path), labels=LABELS)
    assert seen == [False]
    assert gc.isenabled()
    gc.disable()
    try:
        with pytest.raises(ModelError):
            load_classifier(str(path), labels=LABELS)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_unused_layers_are_reported(tmp_path, caplog):
    _edit_config(save(tmp_path / "model"), num_hidden_layers=1)
    load_classifier(str(tmp_path / "model"), labels=LABELS)
    assert "fewer layers" in caplog.text


@pytest.mark.parametrize("labels", [("good", "bad"), ("bad", "fine"), ("bad", "so-so", "good")])
def test_other_labels_are_refused_with_both_lists(tmp_path, labels):
    save(tmp_path / "model")
    with pytest.raises(ModelError) as error:
        load_classifier(str(tmp_path / "model"), labels=labels)
    assert list_values(LABELS) in str(error.value)
    assert list_values(labels) in str(error.value)


def test_many_labels_are_not_all_in_an_error(tmp_path):
    save(tmp_path / "model")
    with pytest.raises(ModelError, match=r"the data has 200 \('class 0', .*'class 9' and 190 more\); name the model's labels"):
        load_classifier(str(tmp_path / "model"), labels=[f"class {number}" for number in range(200)])


def test_generic_label_names_take_the_given_ones(tmp_path):
    save(tmp_path / "model", labels=("LABEL_0", "LABEL_1"))
    assert label_names(load_classifier(str(tmp_path / "model"), labels=LABELS).config) == LABELS


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_dropout_is_replaced_everywhere(tmp_path, architecture):
    save(tmp_path / "model", architecture)
    changed = load_classifier(str(tmp_path / "model"), labels=LABELS, dropout=0.0).train()
    kept = load_classifier(str(tmp_path / "model"), labels=LABELS).train()
    ids = torch.randint(5, len(WORDS), (4, 12), generator=torch.Generator().manual_seed(1))
    assert torch.equal(changed(ids).logits, changed(ids).logits)
    assert not torch.equal(kept(ids).logits, kept(ids).logits)


def test_shared_models_open(shared_models):
    model = load_classifier(str(shared_models / "review-tiny"), labels=LABELS)
    assert sum(parameter.numel() for parameter in model.parameters()) == pytest.approx(1.5e6, rel=0.05)
    assert len(load_tokenizer(str(shared_models / "review-tiny"))) == 8192


def _cut(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[: len(whole) // 2])


def _index(content: str):
    def change(folder: Path) -> None:
        (folder / "model.safetensors").unlink()
        (folder / "model.safetensors.index.json").write_text(content)

    return change


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (_cut, "not a whole safetensors file"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b""), "not a whole safetensors file"),
        (_index("{"), "not an index of weights"),
        (_index('{"weight": 1}'), "not an index of weights"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": "x"}'), "hidden_size"),
    ],
    ids=["cut", "empty", "index cut", "index of nothing", "text for a number"],
)
def test_broken_folders_are_refused_with_what_is_broken(tmp_path, change, expected):
    folder = save(tmp_path / "model")
    change(folder)
    with pytest.raises(ModelError, match=expected):
        load_classifier(str(folder), labels=LABELS)
