"""``--app_name=text_classify_multi_label``: teacher, logits, distillation, prediction, evaluation."""

import json
import random
from pathlib import Path

import pytest

from raykd.errors import ConfigError
from raykd.trainers.events import Evaluated, StepMetrics
from tests.easynlp_world import FILLERS, WORDS, as_flags

LABELS = ("pos", "neg", "film")
SCHEMA = "sent:str:1,tags:str:1"


TELLING = {"pos": WORDS["1"], "neg": WORDS["0"], "film": ("plot", "film", "scene")}


def write(path, count, seed):
    """Ten words a row, two of them for each label that it has; a row may have none."""
    draw = random.Random(seed)
    neutral = [word for word in FILLERS if word not in TELLING["film"]]
    lines = []
    for _ in range(count):
        labels = [label for label in LABELS if draw.random() < 0.5]
        words = [word for label in labels for word in draw.choices(TELLING[label], k=2)]
        words += draw.choices(neutral, k=10 - len(words))
        draw.shuffle(words)
        lines.append(f"{' '.join(words)}\t{','.join(labels)}\n")
    path.write_text("".join(lines))
    return str(path)


@pytest.fixture
def flags(world, tmp_path):
    train, dev = write(tmp_path / "train.tsv", 600, 1), write(tmp_path / "dev.tsv", 90, 2)

    def make(mode, folder, *, user="", **changes):
        values = {
            "app_name": "text_classify_multi_label", "mode": mode, "tables": f"{train},{dev}" if mode == "train" else dev,
            "input_schema": SCHEMA, "first_sequence": "sent", "checkpoint_dir": tmp_path / folder, "sequence_length": 32,
            "micro_batch_size": 16, "label_name": None if mode == "predict" else "tags",
            "label_enumerate_values": None if mode == "predict" else ",".join(LABELS),
        }  # fmt: skip
        if mode == "train":
            values |= {"epoch_num": 10, "learning_rate": 0.005, "logging_steps": 5, "random_seed": 1,
                       "user_defined_parameters": f"pretrain_model_name_or_path={world['teacher']} {user}"}  # fmt: skip
        return as_flags(**values | changes)

    return make


def test_b17_several_labels_have_figures_that_are_what_they_say(easynlp, flags, tmp_path, capsys):
    records = []
    easynlp(*flags("train", "teacher"), listen=records.append)
    evaluations = [one for one in records if isinstance(one, Evaluated)]
    kept = max(one.metrics["macro_f1"] for one in evaluations)
    assert [one.metrics["macro_f1"] for one in evaluations if one.best][-1] == kept, "macro F1 selects, not precision"
    assert kept > 0.7

    train = str(tmp_path / "train.tsv")
    easynlp(*flags("predict", "teacher", tables=train, outputs=tmp_path / "logits.tsv", output_schema="logits"))
    distil = f"enable_distillation=True type=vanilla_kd logits_name=logits logits_saved_path={tmp_path}/logits.tsv alpha=0.5"
    distilled = []
    easynlp(*flags("train", "student", user=distil, input_schema=f"{SCHEMA},logits:float:3"), listen=distilled.append)
    assert set(next(one for one in distilled if isinstance(one, StepMetrics)).terms) == {"kd_bce", "bce"}

    out = tmp_path / "out.tsv"
    easynlp(*flags("predict", "student", outputs=out, output_schema="predictions,probabilities", append_cols="tags"))
    rows = [line.split("\t") for line in out.read_text().splitlines()]
    said, truth = ([set(filter(None, row[index].split(","))) for row in rows] for index in (0, 2))
    for row in rows:
        yes = [label for label, text in zip(LABELS, row[1].split(","), strict=True) if float(text) > 0.5]
        assert row[0] == ",".join(yes), "every label whose probability is above a half, not the likeliest one alone"

    capsys.readouterr()
    easynlp(*flags("evaluate", "student"))
    printed = [line.split("] ", 1)[1] for line in capsys.readouterr().err.splitlines()]
    figures = dict(line.split(": ") for line in printed if line.count(": ") == 1)
    hits = {label: sum(label in a and label in b for a, b in zip(said, truth, strict=True)) for label in LABELS}
    predicted = {label: sum(label in one for one in said) for label in LABELS}
    there = {label: sum(label in one for one in truth) for label in LABELS}
    precision = sum(hits[label] / predicted[label] for label in LABELS) / 3
    macro_f1 = sum(2 * hits[label] / (predicted[label] + there[label]) for label in LABELS) / 3
    micro_f1 = 2 * sum(hits.values()) / (sum(predicted.values()) + sum(there.values()))
    assert float(figures["precision macro average"]) == pytest.approx(precision)
    assert float(figures["Macro F1 average"]) == pytest.approx(macro_f1)
    assert float(figures["Micro F1"]) == pytest.approx(micro_f1)
    assert float(figures["Exact match"]) == pytest.approx(sum(map(set.__eq__, said, truth)) / len(rows))

    config = json.loads((tmp_path / "student" / "config.json").read_text())
    assert config["problem_type"] == "multi_label_classification"
    assert Path(tmp_path, "student", "label_mapping.json").exists()


def test_b17_a_checkpoint_of_one_label_a_row_is_told_apart(easynlp, flags, world, tmp_path):
    from tests.easynlp_world import save_model

    save_model(tmp_path / "single", hidden=16, seed=3, labels=LABELS, head=True)
    with pytest.raises(ConfigError, match="was trained for one label a row"):
        easynlp(*flags("evaluate", "single"))
