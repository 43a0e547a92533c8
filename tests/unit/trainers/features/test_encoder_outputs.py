"""Attention scores, queries, keys and values of stock models."""

import json
from pathlib import Path

import pytest
import torch

from raykd.errors import ModelError
from raykd.models import load_classifier
from raykd.trainers.features.encoder_outputs import _attention, encoder_outputs, expose_attention
from raykd.trainers.features.loss_terms import same_heads
from tests.device_reads import DeviceReads
from tests.unit.metakd.features import make_batch, make_model


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_queries_keys_and_values_are_those_of_the_layers_own_projections(architecture: str) -> None:
    model, inputs = make_model(architecture=architecture), make_batch().model_inputs()
    expose_attention(model, name="m", terms=["attention"])
    found = encoder_outputs(model, inputs, features=["queries", "keys", "values"])
    names = {"queries": ("query", "q_lin"), "keys": ("key", "k_lin"), "values": ("value", "v_lin")}
    for layer in (1, 2):
        for feature, suffixes in names.items():
            (linear,) = (
                module
                for name, module in model.named_modules()
                if name.split(".")[-1] in suffixes and f"layer.{layer - 1}." in f"{name}."
            )
            (selected,) = found.select([feature], [layer])[feature]  # type: ignore[list-item, index]  # features by name
            torch.testing.assert_close(selected, linear(found.hidden[layer - 1]))


def test_grouped_key_heads_are_repeated_for_the_scores_and_returned_as_they_are() -> None:
    query, key, value = torch.randn(2, 4, 3, 5), torch.randn(2, 2, 3, 5), torch.randn(2, 2, 3, 5)
    output, (scores, _, keys, values) = _attention(torch.nn.Identity().eval(), query, key, value, None)
    for head in range(4):
        expected = query[:, head] @ key[:, head // 2].transpose(1, 2) / 5**0.5
        torch.testing.assert_close(scores[:, head], expected)
        torch.testing.assert_close(output[:, :, head], expected.softmax(-1) @ value[:, head // 2])
    assert keys is key
    assert values is value


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_scores_are_those_of_eager_attention_and_change_nothing(architecture: str) -> None:
    model, batch = make_model(architecture=architecture), make_batch()
    inputs = batch.model_inputs()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        eager = model(**inputs, output_attentions=True)
        expose_attention(model, name="m", terms=["attention"])
        with DeviceReads() as reads:
            ours = encoder_outputs(model, inputs, features=["scores", "queries"])
    assert not reads.counts
    torch.testing.assert_close(ours.logits, eager.logits)
    assert len(ours.attention) == len(ours.hidden) - 1 == 2
    blocked = torch.where(batch.attention_mask[:, None, None, :].bool(), 0.0, -torch.inf)
    for layer, probabilities in zip(ours.attention, eager.attentions, strict=True):
        torch.testing.assert_close((layer["scores"] + blocked).softmax(-1), probabilities)


def test_capped_scores_are_capped_and_unknown_biases_are_refused() -> None:
    query, key, value = (10 * torch.randn(1, 2, 3, 5) for _ in range(3))
    output, (scores, *_) = _attention(torch.nn.Identity().eval(), query, key, value, None, scaling=1.0, softcap=4.0)
    expected = 4 * torch.tanh(query @ key.transpose(2, 3) / 4)
    torch.testing.assert_close(scores, expected)
    torch.testing.assert_close(output.transpose(1, 2), expected.softmax(-1) @ value)
    with pytest.raises(ModelError, match="adds biases or sinks to its attention"):
        _attention(torch.nn.Identity(), query, key, value, None, s_aux=torch.zeros(2))


def test_a_model_whose_attention_cannot_be_replaced_is_refused() -> None:
    from transformers import MPNetConfig, MPNetForSequenceClassification

    config = MPNetConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    with pytest.raises(ModelError, match="is of type mpnet, whose attention cannot be replaced"):
        expose_attention(MPNetForSequenceClassification(config), name="m", terms=["attention"])


def test_an_unknown_feature_is_refused() -> None:
    """A name that is in the type alone; the hidden state would pass for it."""
    outputs = encoder_outputs(make_model(), make_batch().model_inputs(), features=["hidden"])
    with pytest.raises(ValueError, match="'gates' is not taken from the forward pass"):
        outputs.select(["gates"], [1])  # type: ignore[list-item]  # not a feature


def test_a_second_model_keeps_its_attention_and_the_folder_says_nothing_of_ours(tmp_path: Path) -> None:
    first, second = make_model(), make_model(seed=2)
    expose_attention(first, name="m", terms=["attention"])
    assert second.config._attn_implementation == "sdpa"
    first.save_pretrained(tmp_path)
    assert "raykd" not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
    assert load_classifier(str(tmp_path), labels=("a", "b")).config._attn_implementation == "sdpa"


def test_other_head_counts_compare_means_over_heads() -> None:
    student, teacher = torch.randn(2, 2, 3, 3), torch.randn(2, 4, 3, 3)
    own, other = same_heads(student, teacher)
    torch.testing.assert_close(own[:, 0], (student[:, 0] + student[:, 1]) / 2)
    torch.testing.assert_close(other[:, 0], teacher.mean(1))
    assert same_heads(student, student)[0] is student
