"""New classifiers: sizes of the shape, and weights of the seed."""

import pytest
import torch

from raykd.models import ModelShape, build_classifier
from tests.unit.models.small_models import small_classifier


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_every_architecture_has_the_sizes_of_its_shape(architecture):
    shape = ModelShape(architecture=architecture, vocab_size=11, hidden=8, layers=3, heads=2, positions=17, pad_token_id=1)
    model = build_classifier(shape, labels=("a", "b", "c"), seed=1)
    config = model.config
    assert (config.model_type, config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (
        architecture,
        8,
        3,
        2,
    )
    assert config.id2label == {0: "a", 1: "b", 2: "c"}
    assert model.get_input_embeddings().weight.shape == (11, 8)
    assert config.pad_token_id == 1
    rows = torch.full((2, 17), 5)
    assert model.eval()(input_ids=rows, attention_mask=torch.ones_like(rows)).logits.shape == (2, 3)


def test_weights_depend_on_the_seed_alone():
    torch.manual_seed(1)
    first = small_classifier()
    drawn = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), drawn)  # the global generator was left alone
    second = small_classifier()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
