"""Texts that training, validation and test files share: counted, dropped or refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from raykd.config import ExperimentConfig
from raykd.errors import DataError
from raykd.run.job_pipeline import run_pipeline
from raykd.stage_names import SPLITS
from tests.local_pipeline import LocalPipeline

Make = Callable[..., ExperimentConfig]
FILES = {
    "train": ["good film", "bad film", "GOOD  book", "a book", "a film"],
    "validation": ["Bad film ", "so good"],
    "test": ["good\u00a0Book", "A BOOK", "bad film", "so bad"],
}


@pytest.fixture
def shared(experiment: Make, tmp_path: Path) -> Callable[[str], LocalPipeline]:
    """A pipeline over files that share texts, with ``data.overlap``."""
    files: dict[str, Any] = {}
    for split, texts in FILES.items():
        path = tmp_path / f"{split}.tsv"
        path.write_text("".join(f"{text}\t{number % 2}\n" for number, text in enumerate(texts)))
        files[f"data__{split}"] = [str(path)]
    return lambda overlap: LocalPipeline(experiment(**files, data__overlap=overlap))


def rows_of(pipeline: LocalPipeline, model: str) -> dict[str, list[int]]:
    found = {}
    for split in SPLITS:
        rows = pipeline.tokenised(split, model)
        groups = range(len(rows.group_rows))
        found[split] = [row for group in groups for row in rows.read_group(group, ["row"])["row"].to_pylist()]
    return found


def test_shared_texts_are_counted(shared: Callable[[str], LocalPipeline]) -> None:
    pipeline = shared("warn")
    assert [str(one) for one in pipeline.splits.overlaps] == [
        "1 of 2 validation texts (50.0%) are among the train texts",
        "3 of 4 test texts (75.0%) are among the train texts",
        "1 of 4 test texts (25.0%) are among the validation texts",
    ]
    pipeline.tokenise_all()
    assert "warning: 3 of 4 test texts (75.0%) are among the train texts" in pipeline.runner.said


def test_shared_texts_are_left_out_of_the_training_and_validation_rows(shared: Callable[[str], LocalPipeline]) -> None:
    pipeline = shared("drop")
    for model in (pipeline.config.student.model, pipeline.config.every_teacher[0].model):
        assert rows_of(pipeline, model) == {"train": [0, 4], "validation": [1], "test": [0, 1, 2, 3]}
    assert pipeline.splits.overlaps == []
    sets = [pipeline.tokenised("train", one.model) for one in (pipeline.config.student, *pipeline.config.every_teacher)]
    assert len({one.rows_fingerprint for one in sets}) == 1
    assert sets[0].rows_fingerprint != shared("warn").tokenised("train", pipeline.config.student.model).rows_fingerprint


def test_shared_texts_are_refused_before_anything_is_trained(shared: Callable[[str], LocalPipeline]) -> None:
    pipeline = shared("error")
    with pytest.raises(DataError, match=r"3 of 4 test texts \(75\.0%\) are among the train texts.*data\.overlap"):
        run_pipeline(pipeline)
    assert pipeline.trained == []
