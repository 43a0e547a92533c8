"""Scoring of prompts: prefixes, calibration, and the cost that the side table keeps."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from transformers import AutoModelForCausalLM

from raykd.data.parquet_files import write_part
from raykd.data.tokenised_set import TokenisedSet
from raykd.predict import score_locally
from raykd.predict.answer_scorer import MIN_PREFIX, AnswerJob, common_prefix
from tests.causal_models import answer_logprob, save_causal_model
from tests.unit.predict.random_rows import all_logits, make_prompts

ANSWERS, FREE = ((5,), (6, 7), (6, 8, 9)), ((1, 2, 3), (1, 4))


def with_rows(prompts: TokenisedSet, rows: list[list[int]]) -> TokenisedSet:
    """The set with other rows, in one group."""
    columns = {
        "shard": np.zeros(len(rows), np.int32),
        "row": np.arange(len(rows)),
        "length": np.array(list(map(len, rows)), np.int32),
    }
    table = pa.table(
        {**{name: pa.array(one) for name, one in columns.items()}, "input_ids": pa.array(rows, pa.list_(pa.int32()))}
    )
    changed = replace(prompts, parts=(write_part(prompts.path, 0, [table]),), labels=None)
    changed.save()
    return TokenisedSet.open(prompts.path)


def test_calibration_divides_by_the_answers_after_content_free_texts(tmp_path: Path) -> None:
    prompts, folder = make_prompts(tmp_path / "set"), save_causal_model(tmp_path / "lm", "gpt2")
    jobs = [AnswerJob(folder, prompts.path, str(tmp_path / name), answers=ANSWERS, content_free=free)
            for name, free in (("plain", ()), ("calibrated", FREE))]  # fmt: skip
    plain, calibrated = (all_logits(table) for table in score_locally(jobs, batch_rows=16))
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    scores = [[answer_logprob(model, list(ids), list(answer)) for answer in ANSWERS] for ids in FREE]
    free_probabilities = torch.tensor(scores).log_softmax(1).exp().mean(0).numpy()
    expected = np.exp(plain) / free_probabilities
    np.testing.assert_allclose(np.exp(calibrated), expected / expected.sum(1, keepdims=True), rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(np.exp(plain).sum(1), 1, rtol=1e-5)


def test_a_table_keeps_the_cost_of_its_scoring(tmp_path: Path) -> None:
    prompts, folder = make_prompts(tmp_path / "set"), save_causal_model(tmp_path / "lm", "gpt2")
    (table,) = score_locally([AnswerJob(folder, prompts.path, str(tmp_path / "out"), batch_rows=9, answers=ANSWERS)])
    assert table.provenance["batch_rows"] == 9
    assert table.provenance["device"] == ["cpu"]
    assert table.provenance["seconds"] > 0


def test_a_prefix_is_what_all_prompts_of_a_group_begin_with(tmp_path: Path) -> None:
    """It leaves every prompt a token, and short ones are not worth a pass of their own."""
    prompts, shared = make_prompts(tmp_path / "set"), list(range(3, 3 + MIN_PREFIX))
    assert common_prefix(with_rows(prompts, [[*shared, 1], [*shared, 2, 2]]), 0) == tuple(shared)
    assert common_prefix(with_rows(prompts, [[*shared, 1], [*shared, 1]]), 0) == tuple(shared)
    assert common_prefix(with_rows(prompts, [shared, [*shared, 1]]), 0) == ()
    assert common_prefix(with_rows(prompts, [[1], [2, 3]]), 0) == ()
