"""Scoring without Ray: every row gets the logits that the model gives it alone."""

import numpy as np
import pytest
import torch

from raykd.data.unpadded_rows import UnpaddedRows
from raykd.errors import ModelError
from raykd.metakd.embeddings import Embedder
from raykd.models import ModelShape, build_classifier, load_classifier
from raykd.predict import ScoreJob, score_locally
from raykd.predict.scorer import Scorer
from tests.unit.predict.random_rows import LABELS, VOCABULARY, all_logits, make_model, make_prepared


@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_each_row_gets_the_logits_it_gets_alone(tmp_path, architecture):
    prepared, model = make_prepared(tmp_path / "set"), make_model(tmp_path / "model", architecture)
    (table,) = score_locally([ScoreJob(model, prepared.path, str(tmp_path / "logits"))], batch_rows=16)

    loaded = load_classifier(model, labels=LABELS)
    alone = []
    for group in range(len(prepared.group_rows)):
        rows = prepared.read_group(group)
        for ids, types in zip(rows["input_ids"].to_pylist(), rows["token_type_ids"].to_pylist(), strict=True):
            inputs = {"input_ids": torch.tensor([ids])}
            if architecture == "bert":
                inputs["token_type_ids"] = torch.tensor([types])
            with torch.inference_mode():
                alone.append(loaded(**inputs).logits[0].numpy())
        side = table.read_group(group)
        assert side["row"].equals(rows["row"])
        assert side["shard"].equals(rows["shard"])
    np.testing.assert_allclose(all_logits(table), np.stack(alone), rtol=1e-4, atol=1e-4)
    assert np.stack(alone).std(axis=0).min() > 0.1  # a mixed-up row would be seen


@pytest.mark.parametrize("scorer", [Scorer, Embedder])
@pytest.mark.parametrize("architecture", ["bert", "distilbert", "roberta"])
def test_outputs_without_padding_are_those_with_it(tmp_path, architecture, scorer, monkeypatch):
    prepared, model = make_prepared(tmp_path / "set"), make_model(tmp_path / "model", architecture)
    joined = []
    join = UnpaddedRows.join
    monkeypatch.setattr(UnpaddedRows, "join", lambda self, padded: (joined.append(1), join(self, padded))[1])
    tables = []
    for name, unpadded in [("padded", False), ("unpadded", True)]:
        assert not joined
        job = ScoreJob(model, prepared.path, str(tmp_path / name))
        tables += score_locally([job], batch_rows=16, unpadded=unpadded, scorer=scorer)
    assert joined
    groups = range(len(prepared.group_rows))
    outputs = [[table.read_group(group)[scorer.column].to_pylist() for group in groups] for table in tables]
    np.testing.assert_allclose(*map(np.concatenate, outputs), rtol=1e-5, atol=1e-5)


def test_padding_stays_inside_the_positions(tmp_path):
    prepared, model = make_prepared(tmp_path / "set", longest=21), make_model(tmp_path / "model", positions=21)
    (table,) = score_locally([ScoreJob(model, prepared.path, str(tmp_path / "logits"))])
    assert len(all_logits(table)) == prepared.num_rows
    short = make_model(tmp_path / "short", positions=20)
    with pytest.raises(ModelError, match="21 is over the 20 positions"):
        score_locally([ScoreJob(short, prepared.path, str(tmp_path / "logits"))])


def test_unlabelled_rows_take_the_labels_of_the_model(tmp_path):
    prepared = make_prepared(tmp_path / "set", labels=None)
    model = make_model(tmp_path / "model", labels=("a", "b", "c"))
    (table,) = score_locally([ScoreJob(model, prepared.path, str(tmp_path / "logits"))])
    assert all_logits(table).shape == (prepared.num_rows, 3)


def test_an_untrained_model_is_refused(tmp_path):
    from transformers import BertModel

    prepared = make_prepared(tmp_path / "set")
    config = build_classifier(ModelShape(vocab_size=VOCABULARY, hidden=16, layers=1, heads=2), labels=LABELS, seed=1).config
    BertModel(config).save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="no trained classifier head"):
        score_locally([ScoreJob(str(tmp_path / "model"), prepared.path, str(tmp_path / "logits"))])


def test_a_model_that_gives_nan_is_refused(tmp_path):
    prepared, model = make_prepared(tmp_path / "set"), load_classifier(make_model(tmp_path / "model"), labels=LABELS)
    model.classifier.bias.data[0] = float("nan")
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(ModelError, match="not finite"):
        score_locally([ScoreJob(str(tmp_path / "model"), prepared.path, str(tmp_path / "logits"))])
    assert not (tmp_path / "logits" / "manifest.json").exists()
