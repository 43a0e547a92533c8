from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from raykd.errors import ConfigError
from raykd.models import checkpoint_activations
from tests.unit.models.architectures import pretrained


def saved_bytes(model: Any) -> tuple[int, list[torch.Tensor]]:
    """Bytes that a forward pass in training mode keeps for the backward pass, and the gradients."""
    kept = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = model(input_ids=torch.randint(5, 15, (4, 16))).logits.square().sum()
    weights = {parameter.data_ptr() for parameter in model.parameters()}
    model.zero_grad()
    loss.backward()
    size = sum(size for pointer, size in kept.items() if pointer not in weights)
    return size, [p.grad.clone() for p in model.parameters() if p.grad is not None]


@pytest.mark.filterwarnings("error::FutureWarning")
@pytest.mark.parametrize("kind", ["bert", "distilbert", "roberta", "modernbert"])
def test_gradients_are_the_same_with_dropout_and_less_is_kept(kind: str, tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(pretrained(tmp_path, kind)).train()
    plain, expected = saved_bytes(model)
    checkpoint_activations(model, name=kind)
    checkpointed, found = saved_bytes(model)
    assert checkpointed < plain / 2
    assert all(torch.equal(one, other) for one, other in zip(expected, found, strict=True))


def test_a_model_that_cannot_is_refused(tmp_path: Path) -> None:
    model = AutoModelForSequenceClassification.from_pretrained(pretrained(tmp_path, "mpnet"))
    model.supports_gradient_checkpointing = False
    with pytest.raises(ConfigError, match="is of type mpnet, which does not support it; set"):
        checkpoint_activations(model, name="the teacher")
