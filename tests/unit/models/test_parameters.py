"""Number of parameters by part."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from raykd.models import count_parameters
from tests.unit.models.architectures import pretrained
from tests.unit.models.small_models import edit_weights


@pytest.mark.parametrize("kind", ["bert", "distilbert", "electra", "mpnet", "roberta", "modernbert", "gpt2"])
def test_parts_of_a_classifier(tmp_path, kind):
    folder = pretrained(tmp_path / kind, kind)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    counts = count_parameters(folder)
    assert counts.total == sum(parameter.numel() for parameter in model.parameters())
    base = model.base_model
    layers = {"distilbert": "transformer", "modernbert": "layers", "gpt2": "h"}.get(kind, "encoder")
    norm = {"modernbert": "final_norm", "gpt2": "ln_f"}.get(kind)
    modules = [base.get_submodule(name) for name in (layers, norm) if name]
    assert counts.encoder == sum(parameter.numel() for module in modules for parameter in module.parameters())
    assert counts.embeddings > base.get_input_embeddings().weight.numel()
    assert counts.head > 0


def test_stored_positions_are_no_parameters(tmp_path):
    folder = pretrained(tmp_path / "bert", "bert")
    before = count_parameters(folder)
    edit_weights(Path(folder), lambda weights: {**weights, "bert.embeddings.position_ids": torch.arange(64)})
    assert count_parameters(folder) == before
