"""The flows of EasyNLP's documentation from shell to files, trained and scored in this process."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from raykd.easynlp.settings import read_settings
from raykd.errors import CheckpointError, ConfigError, DataError, ModelError
from raykd.models import load_classifier, load_tokenizer
from raykd.trainers.events import StepMetrics
from tests.easynlp_world import SCRIPTS, VOCABULARY, commands, environment, scoring_flags

CHECKPOINT = {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "vocab.txt",
              "label_mapping.json", "train_config.json"}  # fmt: skip


def run_script(easynlp, script, variables):
    return [easynlp(*arguments[1:]) for arguments in commands(script, variables)]


def read(path):
    return [line.split("\t") for line in Path(path).read_text(encoding="utf-8").splitlines()]


def own_logits(folder, texts):
    """Logits of a model folder, opened as anybody would."""
    tokenizer, model = load_tokenizer(folder), load_classifier(folder, labels=("0", "1"))
    with torch.no_grad():
        inputs = tokenizer(*zip(*texts, strict=True), truncation=True, max_length=128, padding=True, return_tensors="pt")
        return model(**inputs).logits.numpy()


@pytest.mark.parametrize("script", [path.name for path in sorted(SCRIPTS.glob("*.sh"))])
def test_a_documented_flow_runs_as_written(script, easynlp, world, tmp_path, capfd):
    kind = script.partition("_")[0]
    variables = environment(tmp_path, world, kind)
    assert set(run_script(easynlp, script, variables)) == {0}
    printed = capfd.readouterr().err
    for name in ("TEACHER_CKPT", "STUDENT_CKPT"):
        assert {path.name for path in Path(variables[name]).iterdir()} >= CHECKPOINT
    columns = (3, 4) if kind == "mrpc" else (0,)
    train, dev = ([tuple(row[i] for i in columns) for row in read(variables[part])] for part in ("TRAIN", "DEV"))
    logits = np.array([row[0].split(",") for row in read(variables["LOGITS_PATH"])], np.float32)
    np.testing.assert_allclose(logits, own_logits(variables["TEACHER_CKPT"], train), rtol=1e-4, atol=1e-6)
    predicted = read(variables["PREDICTIONS"])
    rows = train if script == "mrpc_text_match.sh" else dev
    expected = own_logits(variables["STUDENT_CKPT"], rows)
    assert [row[0] for row in predicted] == [str(index) for index in expected.argmax(axis=1)]
    if script == "mrpc_text_match.sh":
        assert {len(row) for row in predicted} == {3}
    else:
        labels = [row[0 if kind == "mrpc" else 1] for row in read(variables["DEV"])]
        accuracy = np.mean([label == row[0] for label, row in zip(labels, predicted, strict=True)])
        assert f"Accuracy: {accuracy}\n" in printed.split("Inference time")[1]
    assert list(tmp_path.glob("**/.raykd-*")) == []


@pytest.fixture
def trained(easynlp, train_flags, tmp_path):
    """A model trained until it knows the generated rows; the folder, and its log."""

    def train(**changes):
        records = []
        easynlp(*train_flags(**{"learning_rate": 0.01, "epoch_num": 6, "logging_steps": 1} | changes), listen=records.append)
        return str(tmp_path / "model"), records

    return train


def test_it_learns_and_says_so(trained, easynlp, world, capfd):
    folder, _ = trained()
    capfd.readouterr()
    easynlp(*scoring_flags("evaluate", world["sst2_dev"], folder, label_name="label"))
    lines = [line.partition("] ")[2] for line in capfd.readouterr().err.splitlines()]
    assert re.fullmatch(r"Inference time = \d+\.\d\ds, \[\d+\.\d{4} ms / sample\] ", lines[0])
    names, values = zip(*(line.split(": ") for line in lines[1:4]), strict=True)
    assert names == ("Eval loss", "Accuracy", "F1")
    assert float(values[1]) > 0.9
    assert float(values[2]) > 0.9
    assert lines[4].startswith("Duration time: ")


def test_files_beside_the_model_are_easynlps(trained):
    folder, _ = trained(random_seed=7, buckets="oss://key:secret@bucket")
    assert json.loads((Path(folder) / "label_mapping.json").read_text()) == {"0": 0, "1": 1}
    config = json.loads((Path(folder) / "train_config.json").read_text())
    assert (config["random_seed"], config["label_enumerate_values"], config["sequence_length"]) == (7, "0,1", 32)
    assert config["model_config"] == config["_config_json"]["model_config"]
    assert (config["model_config"]["num_labels"], config["model_config"]["dropout_rate"]) == (2, 0.0)
    assert config["model_config"]["hidden_size"] == 16
    assert (Path(folder) / "vocab.txt").read_text().split("\n") == [*VOCABULARY, ""]
    written = [path for path in Path(folder).glob("**/*") if path.is_file()]
    assert not [path for path in written if b"secret" in path.read_bytes()]


def test_the_same_command_again_does_nothing_and_another_trains_anew(trained, caplog):
    folder, first = trained(epoch_num=1)
    weights = (Path(folder) / "model.safetensors").read_bytes()
    (Path(folder) / "logits.tsv").write_text("kept")
    _, second = trained(epoch_num=1)
    assert first
    assert second == []
    _, third = trained(epoch_num=1, random_seed=5)
    assert third
    assert (Path(folder) / "model.safetensors").read_bytes() != weights
    assert (Path(folder) / "logits.tsv").read_text() == "kept"
    assert sorted(path.name for path in (Path(folder) / ".raykd").iterdir()) == [
        "flags.json",
        "history.jsonl",
        "published.json",
    ]


def test_a_model_may_be_trained_on_in_its_own_folder(trained, easynlp, train_flags):
    folder, _ = trained(epoch_num=1)
    before = (Path(folder) / "model.safetensors").read_bytes()
    easynlp(*train_flags(user_defined_parameters=f"pretrain_model_name_or_path={folder}"))
    assert (Path(folder) / "model.safetensors").read_bytes() != before
    assert {path.name for path in Path(folder).iterdir()} >= CHECKPOINT


def test_a_student_follows_its_teacher(trained, easynlp, world, tmp_path, train_flags):
    teacher, _ = trained(user_defined_parameters=f"pretrain_model_name_or_path={world['teacher']}")
    logits = tmp_path / "logits.tsv"
    easynlp(*scoring_flags("predict", world["sst2_train"], teacher, outputs=logits, output_schema="id,logits"))
    schema = "sent:str:1,label:str:1,id:str:1,logits:float:2"
    swapped = tmp_path / "swapped.tsv"  # labels say the opposite, so that only the teacher can have taught what is right
    swapped.write_text("".join(f"{text}\t{1 - int(label)}\n" for text, label in read(world["sst2_train"])))
    parameters = f"""pretrain_model_name_or_path={world["student"]} enable_distillation=True type=vanilla_kd
        logits_name=logits logits_saved_path={logits} temperature=2 alpha=1"""
    student = tmp_path / "student"
    tables = f"{swapped},{world['sst2_dev']}"
    easynlp(*train_flags(tables=tables, input_schema=schema, user_defined_parameters=parameters, checkpoint_dir=student,
                         learning_rate=0.01, epoch_num=6))  # fmt: skip
    texts = [(row[0],) for row in read(world["sst2_dev"])]
    assert np.mean(own_logits(str(student), texts).argmax(axis=1) == own_logits(teacher, texts).argmax(axis=1)) > 0.9


def test_input_columns_are_appended_and_headers_skipped(trained, easynlp, world, tmp_path):
    folder, _ = trained(epoch_num=1)
    rows = tmp_path / "rows.tsv"
    rows.write_text("sid\tsent\tlabel\n17\tgood film\t1\n18\tbad film\t0\n")
    flags = {"input_schema": "sid:int:1,sent:str:1,label:str:1", "skip_first_line": True, "outputs": tmp_path / "out.tsv"}
    easynlp(*scoring_flags("predict", rows, folder, **flags, output_schema="predictions", append_cols="label,sid"))
    assert [row[1:] for row in read(tmp_path / "out.tsv")] == [["1", "17"], ["0", "18"]]


def interrupt(at):
    def listen(record):
        if isinstance(record, StepMetrics) and record.step == at:
            raise KeyboardInterrupt

    return listen


def test_an_interrupted_training_goes_on_in_another_folder(easynlp, train_flags, tmp_path):
    flags = {"epoch_num": 2, "save_checkpoint_steps": 2, "logging_steps": 1}
    whole, broken, moved = ({**flags, "checkpoint_dir": str(tmp_path / name)} for name in ("whole", "broken", "moved"))
    easynlp(*train_flags(**whole))
    with pytest.raises(KeyboardInterrupt):
        easynlp(*train_flags(**broken), listen=interrupt(at=7))
    records = []
    easynlp(*train_flags(**moved, resume_from_checkpoint=broken["checkpoint_dir"]), listen=records.append)
    assert [event.step for event in records if isinstance(event, StepMetrics)] == [7, 8, 9, 10]
    assert (tmp_path / "moved" / "model.safetensors").read_bytes() == (tmp_path / "whole" / "model.safetensors").read_bytes()


def test_there_must_be_something_to_resume_from(easynlp, train_flags, tmp_path):
    with pytest.raises(CheckpointError, match="holds no checkpoint of this training"):
        easynlp(*train_flags(resume_from_checkpoint=str(tmp_path)))
    (tmp_path / "pytorch_model.bin").touch()
    with pytest.raises(CheckpointError, match="optimiser state of EasyNLP is not read"):
        easynlp(*train_flags(resume_from_checkpoint=str(tmp_path / "pytorch_model")))
    assert not (tmp_path / "model" / "config.json").exists()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tables": "absent.tsv,absent.tsv"}, DataError, r"^--tables: absent\.tsv does not exist; correct the path$"),
        ({"sequence_length": 129}, ModelError, "129 is over the 128 positions"),
        (
            {"label_enumerate_values": "1,2"},
            DataError,
            r"sst2_train\.tsv:\d+: label '0' is not one of '1', '2'; correct the line, or --input_schema and "
            "--label_enumerate_values, by which it is read$",
        ),
        ({"input_schema": "a:str:1,b:str:1,sent:str:1,label:str:1"}, DataError, r"sst2_train\.tsv:1: 2 columns where 4"),
    ],
)
def test_bad_input_is_named_and_leaves_no_model(easynlp, train_flags, changes, error, message):
    flags = train_flags(**changes)
    with pytest.raises(error, match=message):
        easynlp(*flags)
    assert not (Path(read_settings(flags)[0].checkpoint_dir) / "config.json").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [("0.1,0.2\n", "1 lines, but"), ("0.1\n" * 130, r"logits\.tsv:1"), ("nan,0.1\n" * 130, r"logits\.tsv:1")],
)
def test_logits_that_do_not_fit_are_named(easynlp, train_flags, tmp_path, content, message):
    (tmp_path / "logits.tsv").write_text(content)
    parameters = f"""{train_flags()[-1].partition("=")[2]} enable_distillation=True type=vanilla_kd logits_name=logits
        logits_saved_path={tmp_path / "logits.tsv"}"""
    with pytest.raises(DataError, match=message):
        easynlp(*train_flags(input_schema="sent:str:1,label:str:1,logits:float:2", user_defined_parameters=parameters))


def test_labels_of_the_checkpoint_count(trained, easynlp, world):
    folder, _ = trained(epoch_num=1)
    flags = scoring_flags("evaluate", world["sst2_dev"], folder, label_name="label", label_enumerate_values="1,0")
    with pytest.raises(ConfigError, match=r"gives \['1', '0'\], but .* was trained for \['0', '1'\]"):
        easynlp(*flags)
