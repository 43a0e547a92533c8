"""Model folders: what opens, what is refused and with which advice, and that saved ones open everywhere."""

import gc
import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
from transformers import (
    AutoModelForSequenceClassification,
    BertForMaskedLM,
    BertTokenizerFast,
    PreTrainedTokenizerFast,
    pipeline,
)

from raykd.data.tokenizer import load_row_tokenizer
from raykd.errors import ModelError
from raykd.models import (
    build_classifier,
    check_sequence_length,
    count_parameters,
    label_names,
    load_classifier,
    load_config,
    load_tokenizer,
    max_sequence_length,
    model_digest,
    save_classifier,
)
from raykd.models.folders import conversion_command

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


def _edit_weights(folder: Path, edit) -> None:
    from safetensors.torch import load_file, save_file

    file = folder / "model.safetensors"
    save_file(edit(load_file(file)), file, {"format": "pt"})


def _edit_config(folder: Path, **values) -> None:
    file = folder / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **values}))


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_a_saved_model_opens_here_and_in_a_pipeline(tmp_path, architecture):
    model = build_classifier(architecture, labels=("bad", "so-so", "good"), **SHAPE)
    save_classifier(model, _tokenizer(), str(tmp_path / "model"))

    assert sorted(os.listdir(tmp_path)) == ["model"]  # nothing half written is left beside it
    opened = load_classifier(str(tmp_path / "model"), labels=("bad", "so-so", "good"))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), opened.parameters(), strict=True))
    assert {p.dtype for p in opened.parameters()} == {torch.float32}
    classify = pipeline("text-classification", model=str(tmp_path / "model"), device="cpu", top_k=None)
    assert {item["label"] for item in classify(["the film is very good"])[0]} == {"bad", "so-so", "good"}
    assert len(classify(["good " * 100], truncation=True)[0]) == 3  # longer than its positions


def test_weights_can_come_from_a_state(tmp_path):
    model = build_classifier("bert", labels=LABELS, **SHAPE)
    state = {name: torch.full_like(tensor, 0.5) for name, tensor in model.state_dict().items()}
    save_classifier(model, _tokenizer(), str(tmp_path / "model"), state=state)
    opened = load_classifier(str(tmp_path / "model"), labels=LABELS)
    assert all((parameter == 0.5).all() for parameter in opened.parameters())


def test_models_at_an_address_are_written_and_read_through_the_storage(tmp_path):
    address = f"file://{tmp_path}/model"
    save_classifier(build_classifier("bert", labels=LABELS, **SHAPE), _tokenizer(), address)
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert load_classifier(address, labels=LABELS).config.id2label == dict(enumerate(LABELS))
    assert len(load_tokenizer(address)) == len(WORDS)
    assert model_digest(address) == model_digest(str(tmp_path / "model"))
    with pytest.raises(ModelError, match="does not exist"):
        load_classifier(f"file://{tmp_path}/other", labels=LABELS)


def test_saving_replaces_what_was_there(tmp_path):
    _save(tmp_path / "model")
    before = model_digest(str(tmp_path / "model"))
    (tmp_path / "model" / "left-over.bin").write_bytes(b"x")
    _save(tmp_path / "model", seed=4)
    assert model_digest(str(tmp_path / "model")) != before
    assert not (tmp_path / "model" / "left-over.bin").exists()


def test_a_failed_save_leaves_the_old_model(tmp_path):
    _save(tmp_path / "model")
    before = model_digest(str(tmp_path / "model"))
    with pytest.raises(AttributeError):
        save_classifier(build_classifier("bert", labels=LABELS, **{**SHAPE, "seed": 4}), None, str(tmp_path / "model"))
    assert model_digest(str(tmp_path / "model")) == before
    assert sorted(os.listdir(tmp_path)) == ["model"]


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = build_classifier("bert", labels=LABELS, **SHAPE)
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)  # the global generator was left alone
    second = build_classifier("bert", labels=LABELS, **SHAPE)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_half_precision_folder_loads_in_float32(tmp_path):
    save_classifier(build_classifier("bert", labels=LABELS, **SHAPE).half(), _tokenizer(), str(tmp_path / "model"))
    assert json.loads((tmp_path / "model" / "config.json").read_text())["dtype"] == "float16"
    assert {p.dtype for p in load_classifier(str(tmp_path / "model"), labels=LABELS).parameters()} == {torch.float32}


def test_a_masked_language_model_gets_a_new_head_and_pooler(tmp_path, caplog):
    config = build_classifier("bert", labels=LABELS, **SHAPE).config
    BertForMaskedLM(config).save_pretrained(tmp_path)
    with caplog.at_level("INFO", logger="raykd"):
        model = load_classifier(str(tmp_path), labels=("a", "b", "c"))
    assert model.config.id2label == {0: "a", 1: "b", 2: "c"}
    assert model.config.label2id == {"a": 0, "b": 1, "c": 2}
    assert "bert.pooler.dense.weight" in caplog.text
    assert "classifier.weight" in caplog.text


def test_missing_encoder_weights_are_refused(tmp_path):
    _edit_weights(_save(tmp_path / "model"), lambda w: {k: v for k, v in w.items() if "layer.1.attention" not in k})
    with pytest.raises(ModelError, match=r"lacks weights.*bert\.encoder\.layer\.1\.attention"):
        load_classifier(str(tmp_path / "model"), labels=LABELS)


def test_half_a_head_is_refused(tmp_path):
    _edit_weights(_save(tmp_path / "model"), lambda w: {k: v for k, v in w.items() if "pooler" not in k})
    with pytest.raises(ModelError, match=r"lacks weights.*pooler"):
        load_classifier(str(tmp_path / "model"), labels=LABELS)
    _edit_weights(_save(tmp_path / "other"), lambda w: {k: v for k, v in w.items() if k != "classifier.bias"})
    with pytest.raises(ModelError, match=r"lacks weights.*classifier\.bias"):
        load_classifier(str(tmp_path / "other"), labels=LABELS)


def test_a_wrapped_model_is_refused(tmp_path):
    _edit_weights(_save(tmp_path / "model"), lambda w: {f"backbone.{k}": v for k, v in w.items()})
    with pytest.raises(ModelError, match=r"its file holds instead backbone\."):
        load_classifier(str(tmp_path / "model"), labels=LABELS)


def test_weights_of_another_shape_are_refused(tmp_path):
    _edit_config(_save(tmp_path / "model"), intermediate_size=48)
    with pytest.raises(ModelError, match=r"do not fit its config\.json"):
        load_classifier(str(tmp_path / "model"), labels=LABELS)


def test_checking_a_tokenizer_warns_of_no_length(tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(logging.getLogger("transformers"), "propagate", True)
    tokenizer = _tokenizer()
    tokenizer.model_max_length = 3
    save_classifier(build_classifier("bert", labels=LABELS, **SHAPE), tokenizer, str(tmp_path / "model"))
    load_tokenizer(str(tmp_path / "model"))
    assert "longer than" not in caplog.text


def test_the_garbage_collector_is_left_as_it_was(tmp_path, monkeypatch):
    """It pauses while a model opens, which in a first model's case imports a third of a million objects."""
    path = _save(tmp_path / "model")
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
    _edit_config(_save(tmp_path / "model"), num_hidden_layers=1)
    load_classifier(str(tmp_path / "model"), labels=LABELS)
    assert "fewer layers" in caplog.text


@pytest.mark.parametrize("labels", [("good", "bad"), ("bad", "fine"), ("bad", "so-so", "good")])
def test_other_labels_are_refused_with_both_lists(tmp_path, labels):
    _save(tmp_path / "model")
    with pytest.raises(ModelError) as error:
        load_classifier(str(tmp_path / "model"), labels=labels)
    assert str(list(LABELS)) in str(error.value)
    assert str(list(labels)) in str(error.value)


def test_generic_label_names_take_the_given_ones(tmp_path):
    _save(tmp_path / "model", labels=("LABEL_0", "LABEL_1"))
    assert label_names(load_classifier(str(tmp_path / "model"), labels=LABELS).config) == LABELS


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_dropout_is_replaced_everywhere(tmp_path, architecture):
    _save(tmp_path / "model", architecture)
    changed = load_classifier(str(tmp_path / "model"), labels=LABELS, dropout=0.0).train()
    kept = load_classifier(str(tmp_path / "model"), labels=LABELS).train()
    ids = torch.randint(5, len(WORDS), (4, 12), generator=torch.Generator().manual_seed(1))
    assert torch.equal(changed(ids).logits, changed(ids).logits)
    assert not torch.equal(kept(ids).logits, kept(ids).logits)


def test_missing_folder_is_said_at_once(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        load_config(str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="is a file"):
        load_tokenizer(str(tmp_path / "file"))


def test_hub_name_offline_says_what_to_do():
    with pytest.raises(ModelError, match=r"bert-no-such-model.*local model folder"):
        load_tokenizer("bert-no-such-model")


def test_misspelt_relative_path_is_not_taken_for_a_hub_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    with pytest.raises(ModelError, match="model folder demo/teachr does not exist"):
        load_config("demo/teachr")


def test_pickled_weights_are_refused_and_the_advice_works(tmp_path):
    folder = _save(tmp_path / "model")
    weights = load_classifier(str(folder), labels=LABELS).state_dict()
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="pickle") as error:
        load_classifier(str(folder), labels=LABELS)
    assert conversion_command(folder) in str(error.value)
    command = conversion_command(folder).replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True, timeout=120)
    opened = load_classifier(str(folder), labels=LABELS).state_dict()
    assert all(torch.equal(opened[name], tensor) for name, tensor in weights.items())


def test_folder_without_weights_or_config(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"config\.json"):
        load_classifier(str(tmp_path / "empty"), labels=LABELS)
    folder = _save(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        load_classifier(str(folder), labels=LABELS)


def test_incomplete_shards_are_refused(tmp_path):
    model = build_classifier("bert", labels=LABELS, **SHAPE)
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    load_classifier(str(tmp_path), labels=LABELS)
    shards[-1].unlink()
    with pytest.raises(ModelError, match="lacks some of the files"):
        load_classifier(str(tmp_path), labels=LABELS)


def test_tokenizer_of_a_folder_with_vocab_txt_alone(tmp_path):
    folder = _save(tmp_path / "model")
    for file in folder.glob("tokenizer*"):
        file.unlink()
    with pytest.raises(ModelError, match="has no tokenizer"):
        load_tokenizer(str(folder))
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    assert load_tokenizer(str(folder)).tokenize("The film is not great") == ["the", "film", "is", "not", "great"]


def test_tokenizer_that_lost_its_vocabulary_is_refused(tmp_path):
    folder = _save(tmp_path / "model")
    BertTokenizerFast().save_pretrained(folder)  # five special tokens: what transformers makes of a missing vocabulary
    with pytest.raises(ModelError, match="5 tokens for an embedding table of 15 rows"):
        load_tokenizer(str(folder))
    _edit_config(folder, vocab_size=5)
    with pytest.raises(ModelError, match=r"turns every word into \[UNK\]"):
        load_tokenizer(str(folder))


def test_tokenizer_larger_than_the_embedding_table_is_refused(tmp_path):
    folder = _save(tmp_path / "model")
    _edit_config(folder, vocab_size=14)
    with pytest.raises(ModelError, match=r"15 tokens.*14 rows"):
        load_tokenizer(str(folder))


def test_tokenizer_without_padding_token_is_refused(tmp_path):
    folder = _save(tmp_path / "model")
    tokenizer = _tokenizer()
    tokenizer.pad_token = None
    tokenizer.save_pretrained(folder)
    with pytest.raises(ModelError, match="no padding token"):
        load_tokenizer(str(folder))


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


def test_digest_follows_the_weights_and_not_the_place(tmp_path):
    folder = _save(tmp_path / "model")
    shutil.copytree(folder, tmp_path / "copy")
    assert model_digest(str(tmp_path / "copy")) == model_digest(str(folder))
    _edit_weights(tmp_path / "copy", lambda w: {k: v + 1e-3 for k, v in w.items()})
    assert model_digest(str(tmp_path / "copy")) != model_digest(str(folder))


def test_shared_models_open(shared_models):
    model = load_classifier(str(shared_models / "review-tiny"), labels=LABELS)
    assert count_parameters(model) == pytest.approx(1.5e6, rel=0.05)
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
    folder = _save(tmp_path / "model")
    change(folder)
    with pytest.raises(ModelError, match=expected):
        load_classifier(str(folder), labels=LABELS)


@pytest.mark.parametrize(
    ("file", "content"), [("tokenizer_config.json", '{"tokenizer_class": 3}'), ("tokenizer.json", "{"), ("config.json", "[]")]
)
def test_files_that_hold_no_tokenizer_are_refused(tmp_path, file, content):
    folder = _save(tmp_path / "model")
    (folder / file).write_text(content)
    with pytest.raises(ModelError, match="tokenizer"):
        load_tokenizer(str(folder))
    with pytest.raises(ModelError, match="tokenizer"):
        load_row_tokenizer(str(folder), str(tmp_path / "cache"))
