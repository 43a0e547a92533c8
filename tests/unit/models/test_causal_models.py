"""Folders that hold a causal language model, and those that do not."""

from pathlib import Path

import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, GPT2Config, GPT2ForSequenceClassification

from raykd.errors import ModelError
from raykd.models.causal_models import check_causal_model, load_causal_model
from tests.causal_models import Kind, save_causal_model
from tests.unit.models.small_models import edit_weights


@pytest.mark.parametrize("kind", ["gpt2", "llama"])
def test_a_model_opens_with_weights_of_a_type(tmp_path: Path, kind: Kind) -> None:
    folder = save_causal_model(tmp_path, kind)
    for dtype in (torch.float32, torch.bfloat16):
        model = load_causal_model(folder, dtype=dtype)
        assert next(model.parameters()).dtype == dtype
        assert not model.training


def test_other_models_are_refused(tmp_path: Path) -> None:
    small = {"n_embd": 8, "n_layer": 1, "n_head": 1}
    GPT2ForSequenceClassification(GPT2Config(vocab_size=20, pad_token_id=0, **small)).save_pretrained(tmp_path / "classifier")
    BertForMaskedLM(BertConfig(vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=1,
                               intermediate_size=8)).save_pretrained(tmp_path / "encoder")  # fmt: skip
    for name, architecture in (("classifier", "GPT2ForSequenceClassification"), ("encoder", "BertForMaskedLM")):
        with pytest.raises(ModelError, match=rf"{name} is no causal language model: its config\.json names {architecture}"):
            check_causal_model(str(tmp_path / name))
    with pytest.raises(ModelError, match="does not exist"):
        check_causal_model(str(tmp_path / "absent" / "folder"))


def test_missing_weights_are_named(tmp_path: Path) -> None:
    folder = save_causal_model(tmp_path)
    edit_weights(tmp_path, lambda weights: {name: one for name, one in weights.items() if "layers.1.mlp.up" not in name})
    with pytest.raises(ModelError, match=r"lacks weights .*: model\.layers\.1\.mlp\.up_proj\.weight"):
        load_causal_model(folder, dtype=torch.float32)
