"""Properties that teacher and student must share, found from their folders."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from raykd.config.features import FeatureLossConfig
from raykd.errors import ConfigError, ModelError
from raykd.models import ModelShape, build_classifier, load_tokenizer, save_classifier
from raykd.trainers.features import loss_terms
from raykd.trainers.features.compatibility import check_teacher_and_student, relation_heads
from raykd.trainers.features.loss_terms import LOSS_TERMS, LossTerm
from tests.unit.metakd.worlds import save_model

NAMES = ("teacher.model", "student.model")


def config(width: int, heads: int, **more: Any) -> Any:
    return SimpleNamespace(hidden_size=width, num_attention_heads=heads, **more)


@pytest.mark.parametrize(
    ("given", "student", "teacher", "expected"),
    [
        (None, config(128, 2), config(768, 12), 8),  # divisors of 128: 8 is the largest not above 12
        (None, config(384, 12), config(768, 12), 12),
        (48, config(384, 12), config(768, 12), 48),
        (None, config(7, 1), config(16, 4), 1),
        (None, config(64, 4), config(64, 8, num_key_value_heads=2), 8),  # keys are 16 wide
        (None, config(64, 4), config(48, 4, head_dim=32), 4),  # queries are 128 wide
    ],
)
def test_relation_heads_divide_the_attention_widths(given: int | None, student: Any, teacher: Any, expected: int) -> None:
    assert relation_heads(given, student=student, teacher=teacher) == expected


def test_relation_heads_that_do_not_divide_are_refused_with_those_that_do() -> None:
    with pytest.raises(ConfigError, match=r"relation_heads = 12 does not divide the attention widths 8, 12 .* one of 1, 2, 4"):
        relation_heads(12, student=config(8, 2), teacher=config(12, 2))


def refused(error: type[Exception], message: str, teacher: str, student: str, cache: Path, **losses: Any) -> None:
    with pytest.raises(error, match=message):
        check_teacher_and_student(teacher, student, losses=FeatureLossConfig(**losses), cache=str(cache), names=NAMES)


def test_pairs_that_do_not_fit_are_refused(model: str, tmp_path: Path) -> None:
    student = save_model(tmp_path / "student", hidden=8, layers=2)
    fitting = FeatureLossConfig(relation_weight=1, relation_heads=4)
    check_teacher_and_student(model, student, losses=fitting, cache=str(tmp_path), names=NAMES)
    refused(ConfigError, r"\[2, 9\] is not a pair", model, student, tmp_path, layers=[[2, 9]])
    refused(ConfigError, "relation_heads = 16 does not divide", model, student, tmp_path, relation_weight=1, relation_heads=16)
    other = save_model(tmp_path / "other", hidden=8, layers=2, extra=3)
    refused(ConfigError, "have different tokenizers", model, other, tmp_path)


def test_losses_on_attention_are_refused_without_padding(model: str, tmp_path: Path) -> None:
    def check(**losses: Any) -> None:
        given = FeatureLossConfig(**losses)
        check_teacher_and_student(model, model, losses=given, cache=str(tmp_path), names=NAMES, unpadded=True)

    check(attention_weight=0)
    with pytest.raises(ConfigError, match=r"compute.attention = unpadded .* attention_weight of .* set it to 0, or compute"):
        check()
    with pytest.raises(ConfigError, match=r"attention_weight and relation_weight of .* set them to 0"):
        check(relation_weight=1.0)


def test_token_types_are_needed_for_pairs_alone(model: str, tmp_path: Path) -> None:
    """BERT and DistilBERT share a vocabulary; rows made for DistilBERT do not tell BERT where the second text begins."""
    shape = ModelShape(architecture="distilbert", vocab_size=40, hidden=8, layers=2, heads=2, positions=32)
    student = build_classifier(shape, labels=("a", "b"), seed=1)
    folder, losses = str(tmp_path / "distilbert"), FeatureLossConfig(layers="last")
    save_classifier(student, load_tokenizer(model), folder)
    given: dict[str, Any] = {"losses": losses, "cache": str(tmp_path), "names": NAMES}
    check_teacher_and_student(model, folder, **given)
    check_teacher_and_student(folder, model, pairs=True, **given)
    with pytest.raises(ConfigError, match="distinguishes the two texts of a pair by token_type_ids"):
        check_teacher_and_student(model, folder, pairs=True, **given)


def test_a_model_whose_attention_cannot_be_replaced_is_refused_by_its_key(
    model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import MPNetConfig, MPNetForSequenceClassification

    small = MPNetConfig(vocab_size=40, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32)
    folder = str(tmp_path / "mpnet")
    save_classifier(MPNetForSequenceClassification(small), load_tokenizer(model), folder)
    message = "student.model = .*mpnet is of type mpnet, whose attention cannot be replaced"
    refused(ModelError, message + ".*set attention_weight to 0, or", model, folder, tmp_path)
    refused(ModelError, message, model, folder, tmp_path, attention_weight=0, relation_weight=1)
    check_teacher_and_student(model, folder, losses=FeatureLossConfig(attention_weight=0), cache=str(tmp_path), names=NAMES)

    class Losses(FeatureLossConfig):
        keys_weight: float = 0.0

    term = LossTerm(("keys",), lambda *_: torch.zeros(1))
    monkeypatch.setattr(loss_terms, "LOSS_TERMS", LOSS_TERMS | {"keys": term})
    losses = Losses(attention_weight=0, keys_weight=2)
    with pytest.raises(ModelError, match=message + ".*set keys_weight to 0, or"):
        check_teacher_and_student(model, folder, losses=losses, cache=str(tmp_path), names=NAMES)
