"""The lengths that a model takes."""

import pytest
import torch
from transformers import RobertaConfig

from raykd.errors import ModelError
from raykd.models import (
    check_sequence_length,
    load_classifier,
    load_config,
    max_sequence_length,
)
from tests.unit.models.small_models import LABELS, save


def test_a_model_without_the_token_that_positions_are_counted_from_is_refused():
    config = RobertaConfig(max_position_embeddings=34, pad_token_id=None)
    with pytest.raises(ModelError, match="pad_token_id = None, but a roberta model counts positions from that token"):
        max_sequence_length(config)


@pytest.mark.parametrize(("architecture", "limit"), [("bert", 32), ("distilbert", 32), ("roberta", 32)])
def test_sequence_length_is_bounded_by_the_positions(tmp_path, architecture, limit):
    folder = save(tmp_path / "model", architecture)
    config = load_config(str(folder))
    assert max_sequence_length(config) == limit
    check_sequence_length(config, limit, model=str(folder))
    with pytest.raises(ModelError, match=f"33 is over the 32 positions of {folder} "):
        check_sequence_length(config, limit + 1, model=str(folder))
    model = load_classifier(str(folder), labels=LABELS)
    model(torch.full((1, limit), 6))  # the limit itself works
    with pytest.raises((IndexError, RuntimeError)):
        model(torch.full((1, limit + 1), 6))
