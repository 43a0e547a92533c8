"""Models that a training task saves, for every architecture: checked in a stock pipeline before the task counts as done."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import pipeline

from raykd.config import ExperimentConfig
from raykd.data.prepare import prepare
from raykd.data.prepare_spec import spec_from_config
from raykd.data.step_stream import local_feed
from raykd.distill.tasks import teacher_task
from raykd.errors import ModelError
from raykd.models import model_digest, saving
from raykd.predict import ScoreJob, score_locally
from raykd.run.task import TrainTask, cache_folder
from raykd.run.train_task import run_task
from raykd.task_kinds import label_codec
from raykd.trainers.context import local_context
from tests.unit.models.architectures import ARCHITECTURES, pretrained, wordpiece

Make = Callable[..., ExperimentConfig]


def _configure(experiment: Make, model: str) -> ExperimentConfig:
    engine = {"compute__engine": {"kind": "torch"}}
    return experiment(teacher__model=model, teacher__training__max_steps=2, teacher__training__dropout=0.0, **engine)


def _train(config: ExperimentConfig) -> TrainTask:
    assert config.teacher is not None
    model = config.teacher.model
    train, validation = (
        prepare(spec_from_config(config.data, part, model, label_codec(config.data)), cache_folder(config))
        for part in ("train", "validation")
    )
    task = teacher_task(config, train=train, validation=validation, digest=model_digest(model))
    with local_context() as context:
        run_task(task, context, build_feed=local_feed)
    return task


def _labels(folder: str) -> None:
    """Give a folder the labels of the small experiment."""
    file = Path(folder, "config.json")
    labels = {"id2label": {"0": "0", "1": "1"}, "label2id": {"0": 0, "1": 1}}
    file.write_text(json.dumps({**json.loads(file.read_text()), **labels}))


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_scores_are_those_of_a_stock_pipeline_on_the_saved_folder(experiment: Make, tmp_path: Path, kind: str) -> None:
    _labels(folder := pretrained(tmp_path / "start", kind))
    config = _configure(experiment, folder)
    task = _train(config)
    rows = prepare(spec_from_config(config.data, "test", folder, label_codec(config.data)), cache_folder(config))
    (table,) = score_locally([ScoreJob(task.model_folder, rows.path, str(tmp_path / "logits"))])
    logits = np.array(table.read_group(0)["logits"].to_pylist())[:16]
    texts = [line.split("\t")[0] for line in Path(config.data.test[0]).read_text().splitlines()[:16]]
    classify = pipeline("text-classification", model=task.model_folder, device="cpu", top_k=None, function_to_apply="none")
    cut = {"truncation": True, "max_length": config.data.sequence_length}
    stock = [{answer["label"]: answer["score"] for answer in classify(text, **cut)[0]} for text in texts]
    np.testing.assert_allclose(logits, [[one["0"], one["1"]] for one in stock], rtol=1e-3, atol=1e-3)
    assert task.is_done()


def test_a_bert_tokenizer_beside_gpt2(experiment: Make, tmp_path: Path) -> None:
    _labels(folder := pretrained(tmp_path / "start", "gpt2", tokenizer=wordpiece()))
    task = _train(_configure(experiment, folder))
    classify = pipeline("text-classification", model=task.model_folder, device="cpu")
    assert classify.tokenizer.model_input_names == ["input_ids", "attention_mask"]
    assert classify.model.config.pad_token_id == 0


def test_a_folder_that_a_pipeline_reads_otherwise_is_no_result(
    experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def left_as_it_is(tokenizer: Any, model: Any) -> None:
        pass

    _labels(folder := pretrained(tmp_path / "start", "gpt2", tokenizer=wordpiece()))
    monkeypatch.setattr(saving, "fit_tokenizer", left_as_it_is)
    with pytest.raises(ModelError, match="a stock text-classification pipeline gives other logits"):
        _train(_configure(experiment, folder))
    assert not list(tmp_path.glob("runs/**/task.json")), "a task is done when this is there"
