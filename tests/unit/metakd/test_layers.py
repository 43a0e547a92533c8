"""Layer maps, and attention scores out of stock models."""

import json
from pathlib import Path

import pytest
import torch

from raykd.errors import ConfigError, ModelError
from raykd.metakd.layers import alike, expose_scores, insides, layer_map
from raykd.models import load_classifier
from tests.unit.metakd.features import make_batch, make_model


def test_the_uniform_map_takes_every_nth_layer() -> None:
    assert layer_map("uniform", student=2, teacher=4) == ((1, 2), (2, 4))
    assert layer_map([[1, 3], [2, 3]], student=2, teacher=4) == ((1, 3), (2, 3))


@pytest.mark.parametrize(
    ("layers", "student", "message"),
    [
        ("uniform", 3, "4 teacher layers cannot be shared evenly by 3 student layers"),
        ([[3, 4]], 2, r"\[3, 4\] is not a pair of a student layer 1 .. 2"),
        ([[1, 0]], 2, r"teacher layer 1 .. 4"),
        ([[1, 2], [1, 3]], 2, "each student layer once"),
        ([], 2, "at least one pair"),
    ],
)
def test_maps_that_do_not_fit_are_refused(layers: object, student: int, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        layer_map(layers, student=student, teacher=4)  # type: ignore[arg-type]


@pytest.mark.parametrize("architecture", ["bert", "roberta", "distilbert"])
def test_scores_are_those_of_eager_attention_and_change_nothing(architecture: str) -> None:
    model, batch = make_model(architecture=architecture), make_batch()
    inputs = batch.model_inputs()
    model.set_attn_implementation("eager")
    with torch.no_grad():
        eager = model(**inputs, output_attentions=True)
        expose_scores(model, name="m")
        ours = insides(model, inputs, with_scores=True)
    torch.testing.assert_close(ours.logits, eager.logits)
    assert len(ours.scores) == len(ours.hidden) - 1 == 2
    blocked = torch.where(batch.attention_mask[:, None, None, :].bool(), 0.0, -torch.inf)
    for scores, probabilities in zip(ours.scores, eager.attentions, strict=True):
        torch.testing.assert_close((scores + blocked).softmax(-1), probabilities)


def test_a_model_whose_attention_cannot_be_replaced_is_refused() -> None:
    from transformers import MPNetConfig, MPNetForSequenceClassification

    config = MPNetConfig(vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32)
    with pytest.raises(ModelError, match="is a mpnet model, whose attention scores cannot be had"):
        expose_scores(MPNetForSequenceClassification(config), name="m")


def test_a_second_model_keeps_its_attention_and_the_folder_says_nothing_of_ours(tmp_path: Path) -> None:
    first, second = make_model(), make_model(seed=2)
    expose_scores(first, name="m")
    assert second.config._attn_implementation == "sdpa"
    first.save_pretrained(tmp_path)
    assert "raykd" not in json.dumps(json.loads((tmp_path / "config.json").read_text()))
    assert load_classifier(str(tmp_path), labels=("a", "b")).config._attn_implementation == "sdpa"


def test_other_head_counts_compare_means_over_heads() -> None:
    student, teacher = torch.randn(2, 2, 3, 3), torch.randn(2, 4, 3, 3)
    own, other = alike(student, teacher)
    torch.testing.assert_close(own[:, 0], (student[:, 0] + student[:, 1]) / 2)
    torch.testing.assert_close(other[:, 0], teacher.mean(1))
    assert alike(student, student)[0] is student
