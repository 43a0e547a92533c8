"""Scoring without Ray: every row gets the logits that the model gives it alone, joined by its name."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import torch

from raykd.data.parquet_files import write_part
from raykd.data.side_tables import SideTable, logits_numpy
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ModelError
from raykd.models import build_classifier, load_classifier
from raykd.predict import ScoreJob, score_locally

LABELS = ("bad", "good")
VOCABULARY = 40
GROUPS = ((5, 130), (3,), (70, 1))
"""Rows of the row groups of each part."""


def make_prepared(folder: Path, *, longest: int = 21, token_types: bool = True, labels=LABELS, seed: int = 0) -> TokenisedSet:
    """A prepared set of random tokens."""
    dice = np.random.default_rng(seed)
    parts, position, row = [], 0, 0
    for groups in GROUPS:
        tables = []
        for size in groups:
            lengths = dice.integers(3, longest + 1, size).astype(np.int32)
            lengths[0] = longest
            columns = {
                "shard": pa.array(np.zeros(size, np.int32)),
                "row": pa.array(np.arange(row, row + size)),
                "length": pa.array(lengths),
                "input_ids": pa.array(
                    [dice.integers(5, VOCABULARY, n).astype(np.int32) for n in lengths], pa.list_(pa.int32())
                ),
            }
            if token_types:
                types = [(np.arange(n) > n // 2).astype(np.uint8) for n in lengths]
                columns["token_type_ids"] = pa.array(types, pa.list_(pa.uint8()))
            if labels is not None:
                columns["label"] = pa.array(dice.integers(0, len(labels), size).astype(np.int32))
            tables.append(pa.table(columns))
            row += size
        parts.append(write_part(str(folder), position, tables))
        position += len(groups)
    prepared = TokenisedSet(
        path=str(folder), fingerprint=f"tokens-{seed}", rows_fingerprint=f"rows-{seed}", labels=labels, pad_token_id=0,
        has_token_types=token_types, max_length=longest, sources=(), read=row, rejected=0, filtered=0, parts=tuple(parts),
    )  # fmt: skip
    prepared.save()
    return prepared


def make_model(folder: Path, architecture: str = "bert", *, seed: int = 1, positions: int = 32, labels=LABELS) -> str:
    """A model folder without a tokenizer: scoring needs none."""
    model = build_classifier(
        architecture, vocab_size=VOCABULARY, hidden=16, layers=2, heads=2, labels=labels, seed=seed, positions=positions
    )
    for parameter in model.parameters():
        parameter.data *= 10  # so that logits differ from row to row by far more than rounding
    model.save_pretrained(folder)
    return str(folder)


def all_logits(table: SideTable) -> np.ndarray:
    return np.concatenate([logits_numpy(table.read_group(g)["logits"]) for g in range(len(table.group_rows))])


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


def test_the_table_names_its_rows_and_model(tmp_path):
    prepared, model = make_prepared(tmp_path / "set"), make_model(tmp_path / "model")
    score_locally([ScoreJob(model, prepared.path, str(tmp_path / "logits"))])
    table = SideTable.open(str(tmp_path / "logits"))
    table.check_fits(prepared)
    assert table.columns == ("logits",)
    assert list(table.group_rows) == list(prepared.group_rows)
    assert table.provenance["precision"] == ["fp32"]
    other = make_model(tmp_path / "other", seed=2)
    (changed,) = score_locally([ScoreJob(other, prepared.path, str(tmp_path / "logits"))])
    assert changed.provenance["model_digest"] != table.provenance["model_digest"]
    assert len(list((tmp_path / "logits").glob("part-*"))) == len(changed.parts)  # the older table's parts are gone
    assert not np.allclose(all_logits(changed)[:, 0], 0)


def test_several_jobs_give_what_each_gives_alone(tmp_path):
    sets = [make_prepared(tmp_path / f"set{i}", seed=i) for i in range(2)]
    names = [make_model(tmp_path / f"model{i}", seed=i) for i in range(2)]
    jobs = [ScoreJob(names[m], sets[s].path, str(tmp_path / f"out{m}{s}")) for s, m in ((0, 1), (1, 0), (1, 1), (0, 0))]
    seen = []
    together = score_locally(jobs, progress=lambda done, total: seen.append((done, total)))
    total = sum(TokenisedSet.open(job.prepared).num_rows for job in jobs)
    assert seen[-1] == (total, total)
    for job, table in zip(jobs, together, strict=True):
        (alone,) = score_locally([ScoreJob(job.model, job.prepared, job.output + "-alone")])
        assert np.array_equal(all_logits(table), all_logits(alone))


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
    config = build_classifier("bert", vocab_size=VOCABULARY, hidden=16, layers=1, heads=2, labels=LABELS, seed=1).config
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


def test_threads_are_put_back(tmp_path):
    prepared, model = make_prepared(tmp_path / "set"), make_model(tmp_path / "model")
    before = torch.get_num_threads()
    score_locally([ScoreJob(model, prepared.path, str(tmp_path / "logits"))], threads=before + 1)
    assert torch.get_num_threads() == before
