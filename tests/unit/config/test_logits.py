"""Settings of a logits file that contradict each other or the data."""

from collections.abc import Callable
from typing import Any

import pytest

from raykd.config import ExperimentConfig
from raykd.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kind": "votes"}, r"logits\.kind = votes describes logits\.file, which is not set"),
        ({"key": "text"}, r"logits\.key = text describes logits\.file, which is not set"),
        (
            {"file": "a.tsv", "kind": "top_logprobs"},
            r"top_logprobs needs a \.jsonl, \.parquet, \.csv or \.arrow file, not a\.tsv",
        ),
        ({"file": "a.tsv", "key": "text"}, r"logits\.key = 'text': the columns of a\.tsv have no names"),
        ({"file": "a.jsonl", "key": "id"}, r"logits\.key = 'id' is not a column of data\.input_schema \(text, label\)"),
        ({"file": "a.jsonl", "floor": 0.5}, "less than 0"),
        ({"file": "a.jsonl", "smoothing": 0}, "greater than 0"),
    ],
)
def test_contradictions_are_refused(
    experiment: Callable[..., ExperimentConfig], changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        experiment(teacher=None, **{f"logits__{key}": value for key, value in changes.items()})


def test_probabilities_are_of_rows_with_one_label(experiment: Callable[..., ExperimentConfig]) -> None:
    experiment(teacher=None, logits__file="a.tsv", logits__kind="probabilities")
    with pytest.raises(ConfigError, match=r"probabilities is for rows with exactly one label, but data\.task = multi_label"):
        experiment(teacher=None, logits__file="a.tsv", logits__kind="probabilities", data__task="multi_label")
