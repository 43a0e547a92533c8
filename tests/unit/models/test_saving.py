"""Saved models open everywhere."""

import os

import pytest
import torch
from transformers import (
    pipeline,
)

from raykd.errors import ModelError, ResourceError
from raykd.models import (
    load_classifier,
    load_tokenizer,
    model_digest,
    save_classifier,
)
from tests.unit.models.small_models import LABELS, WORDS, save, small_classifier, small_tokenizer


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_a_saved_model_opens_here_and_in_a_pipeline(tmp_path, architecture):
    model = small_classifier(("bad", "so-so", "good"), architecture=architecture)
    save_classifier(model, small_tokenizer(), str(tmp_path / "model"))

    assert sorted(os.listdir(tmp_path)) == ["model"]  # nothing half written is left beside it
    opened = load_classifier(str(tmp_path / "model"), labels=("bad", "so-so", "good"))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), opened.parameters(), strict=True))
    assert {p.dtype for p in opened.parameters()} == {torch.float32}
    classify = pipeline("text-classification", model=str(tmp_path / "model"), device="cpu", top_k=None)
    assert {item["label"] for item in classify(["the film is very good"])[0]} == {"bad", "so-so", "good"}
    assert len(classify(["good " * 100], truncation=True)[0]) == 3  # longer than its positions


def test_weights_can_come_from_a_state(tmp_path):
    model = small_classifier()
    state = {name: torch.full_like(tensor, 0.5) for name, tensor in model.state_dict().items()}
    save_classifier(model, small_tokenizer(), str(tmp_path / "model"), state=state)
    opened = load_classifier(str(tmp_path / "model"), labels=LABELS)
    assert all((parameter == 0.5).all() for parameter in opened.parameters())


def test_models_at_an_address_are_written_and_read_through_the_storage(tmp_path):
    address = f"file://{tmp_path}/model"
    save_classifier(small_classifier(), small_tokenizer(), address)
    assert (tmp_path / "model" / "model.safetensors").is_file()
    assert load_classifier(address, labels=LABELS).config.id2label == dict(enumerate(LABELS))
    assert len(load_tokenizer(address)) == len(WORDS)
    assert model_digest(address) == model_digest(str(tmp_path / "model"))
    with pytest.raises(ModelError, match="does not exist"):
        load_classifier(f"file://{tmp_path}/other", labels=LABELS)


def test_saving_replaces_what_was_there(tmp_path):
    save(tmp_path / "model")
    before = model_digest(str(tmp_path / "model"))
    (tmp_path / "model" / "left-over.bin").write_bytes(b"x")
    save(tmp_path / "model", seed=4)
    assert model_digest(str(tmp_path / "model")) != before
    assert not (tmp_path / "model" / "left-over.bin").exists()


def test_a_failed_save_leaves_the_old_model(tmp_path, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    save(tmp_path / "model")
    before = model_digest(str(tmp_path / "model"))
    monkeypatch.setattr("raykd.models.saving._write_labels", fail)  # the weights are written by then
    with pytest.raises(ResourceError, match="no space left"):
        save_classifier(small_classifier(seed=4), small_tokenizer(), str(tmp_path / "model"))
    assert model_digest(str(tmp_path / "model")) == before
    assert sorted(os.listdir(tmp_path)) == ["model"]
