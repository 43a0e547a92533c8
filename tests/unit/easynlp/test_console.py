"""EasyNLP's output, line by line."""

import logging
import re
from dataclasses import replace

from raykd.config import TrainingConfig
from raykd.easynlp.console import TrainingLines, inference_line, metric_lines, printing
from raykd.trainers.events import CheckpointSaved, Evaluated
from tests.training_events import step_metrics

TWO = {"loss": 0.5, "accuracy": 0.75, "f1": 0.8, "macro_f1": 0.7, "micro_f1": 0.75, "mcc": 0.1}
THREE = {"loss": 0.5, "accuracy": 0.75, "macro_f1": 0.7, "micro_f1": 0.75}


def test_two_labels_have_f1_and_more_have_macro_and_micro():
    assert metric_lines(TWO) == ["Eval loss: 0.5", "Accuracy: 0.75", "F1: 0.8"]
    assert metric_lines(THREE) == ["Eval loss: 0.5", "Accuracy: 0.75", "Macro F1: 0.7", "Micro F1: 0.75"]


def test_inference_time_is_of_real_rows():
    assert inference_line(2.0, 400) == "Inference time = 2.00s, [5.0000 ms / sample] "


def test_training_lines():
    lines = TrainingLines(TrainingConfig(epochs=3), weights_file="out/model.safetensors")
    entry = step_metrics(20, total_steps=345, loss=0.69317, terms={"ce": 0.69317}, learning_rate=3e-5)
    head, loss = lines.lines(entry)
    assert re.fullmatch(r"Epoch \[ 0/ 3\], step \[20/345\], lr 0\.000030, \d+\.\d\d s", head)
    assert loss == "  loss      : 0.6932 "
    distilled = lines.lines(replace(entry, terms={"kd_kl": 0.4, "ce": 0.29317}))
    assert distilled[1:] == ["  loss      : 0.6932 ", "  kd_kl     : 0.4000 ", "  ce        : 0.2932 "]


def test_evaluation_lines_keep_the_best_score():
    training = TrainingConfig(epochs=1, learning_rate=0.001, warmup_ratio=0, log_every=100)
    lines = TrainingLines(training, weights_file="out/model.safetensors")
    lines.lines(step_metrics(1, total_steps=400, learning_rate=0.001))
    first = lines.lines(Evaluated(step=100, metrics=TWO, best=True))
    assert first == [
        "========== Evaluation at global step 100 ==========", *metric_lines(TWO),
        "Saving best model to out/model.safetensors...", "Best score: 0.75", "Learning rate: 0.00075250",
    ]  # fmt: skip
    worse = lines.lines(Evaluated(step=200, metrics=TWO | {"accuracy": 0.5}, best=False))
    assert worse[-2:] == ["Best score: 0.75", "Learning rate: 0.00050250"]
    assert not any(line.startswith("Saving") for line in worse)
    assert lines.lines(CheckpointSaved(step=200)) == []


def test_the_log_has_easynlps_form_and_is_put_back(capsys):
    logger = logging.getLogger("raykd.easynlp.somewhere")
    handlers = list(logging.getLogger("raykd").handlers)
    with printing():
        logger.info("Accuracy: 0.5")
        logging.getLogger("raykd.data").info("not shown")
        logging.getLogger("raykd.data").warning("shown")
    shown = capsys.readouterr()
    assert re.fullmatch(r"\[[\d: ,-]+ INFO\] Accuracy: 0\.5\n\[[\d: ,-]+ WARNING\] shown\n", shown.err)
    assert shown.out == ""
    assert logging.getLogger("raykd").handlers == handlers
