"""From flags to settings, and what is refused before anything starts."""

import logging
import re

import pytest

from raykd.config import FineTuneConfig, VanillaKDConfig
from raykd.easynlp.settings import PredictSettings, Workers, read_settings
from raykd.errors import ConfigError

KD = "enable_distillation=True type=vanilla_kd logits_name=logits logits_saved_path=logits.tsv"
SCHEMA = "sent:str:1,label:str:1,logits:float:2"


@pytest.fixture
def train(train_flags, world):
    def read(parameters="", **changes):
        base = f"pretrain_model_name_or_path={world['student']} "
        return read_settings(train_flags(**{"user_defined_parameters": base + parameters} | changes))[0]

    return read


def test_batches_are_micro_times_accumulation_times_workers(train):
    settings = train(micro_batch_size=4, gradient_accumulation_steps=3, worker_count=2, worker_gpu=2)
    assert settings.workers == Workers(4, gpu=True)
    assert (settings.training.batch_size, settings.training.micro_batch_size) == (48, 4)


@pytest.mark.parametrize(
    ("count", "gpu", "workers"),
    [
        (1, None, Workers(1, gpu=False)),
        (1, 0, Workers(1, gpu=False)),
        (3, -1, Workers(3, gpu=False)),
        (2, 4, Workers(8, gpu=True)),
    ],
)
def test_workers(train, count, gpu, workers):
    assert train(worker_count=count, worker_gpu=gpu).workers == workers


def test_the_first_table_trains_and_the_last_selects(train):
    settings = train(tables="a.tsv,b.tsv,c.tsv")
    assert (settings.train_file, settings.dev_file) == ("a.tsv", "c.tsv")


def test_one_table_is_both_with_a_warning(train, caplog):
    with caplog.at_level(logging.WARNING):
        settings = train(tables="a.tsv")
    assert settings.train_file == settings.dev_file == "a.tsv"
    assert "selected on its own training rows" in caplog.text


def test_without_evaluation_nothing_selects(train):
    assert train("do_eval=False").dev_file is None


def test_distillation_has_easynlps_defaults(train):
    settings = train(KD, input_schema=SCHEMA)
    assert settings.objective == VanillaKDConfig(temperature=1.0, alpha=0.2)


def test_a_temperature_below_one_is_warned_of(train, caplog):
    with caplog.at_level(logging.WARNING):
        assert train(f"{KD} temperature=0.5", input_schema=SCHEMA).objective.temperature == 0.5
    assert "temperature=0.5 is below 1" in caplog.text


def test_unlabelled_rows_may_be_distilled_from_the_teacher_alone(train):
    settings = train(f"{KD} alpha=1", input_schema="sent:str:1,logits:float:2", label_name=None)
    assert (settings.columns.label, settings.dev_file) == (None, None)


@pytest.mark.parametrize(
    ("parameters", "changes", "message"),
    [
        ("", {"tables": None}, "--tables is missing"),
        ("", {"first_sequence": None}, "--first_sequence is missing"),
        ("", {"input_schema": None}, "--input_schema is missing"),
        ("", {"checkpoint_dir": None}, "--checkpoint_dir is missing"),
        ("", {"label_name": None}, "--label_name is missing: training needs labels"),
        ("", {"label_name": "labl"}, "--label_name=labl is not a column of --input_schema (sent, label)"),
        ("", {"first_sequence": "text"}, "--first_sequence=text is not a column"),
        ("", {"input_schema": "sent:str"}, "not of the form name:type:length"),
        ("", {"user_defined_parameters": None}, "pretrain_model_name_or_path=MODEL is missing"),
        ("", {"tables": "odps://project/table"}, "odps://project/table is not read"),
        ("", {"optimizer_type": "SGD"}, "--optimizer_type=SGD: allowed are AdamW and BertAdam"),
        ("enable_distillation=True", {}, "enable_distillation=True needs type=..."),
        (f"{KD} type=meta", {}, "type=meta; the kind of distillation here is vanilla_kd"),
        (f"{KD} alpha=1.5", {}, "alpha=1.5; the weight of the teacher's term lies in 0 to 1"),
        (f"{KD} temperature=0", {}, "temperature=0; a temperature is above 0"),
        (f"{KD} temperature=nan", {}, "temperature=nan; a temperature is above 0"),
    ],
)
def test_what_is_wrong_is_said(train, parameters, changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        train(parameters, **changes)


@pytest.fixture
def predict(tmp_path):
    def read(**changes):
        values = {
            "mode": "predict", "tables": "a.tsv,b.tsv", "input_schema": "sent:str:1,label:str:1", "first_sequence": "sent",
            "checkpoint_path": str(tmp_path), "outputs": "out.tsv", "output_schema": "predictions,id", "append_cols": "label",
        } | changes  # fmt: skip
        return read_settings([f"--{name}={value}" for name, value in values.items() if value is not None])[0]

    return read


def test_predict(predict):
    settings = predict()
    assert isinstance(settings, PredictSettings)
    assert (settings.file, settings.output_columns, settings.append_columns) == ("b.tsv", ("predictions", "id"), ("label",))
    assert settings.batch_rows == 64
    assert predict(micro_batch_size=7).batch_rows == 7


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"outputs": None}, "--outputs is missing"),
        ({"output_schema": "prediction"}, "'prediction' is not one of id, output, predictions, probabilities, logits"),
        ({"output_schema": None, "append_cols": None}, "--output_schema is missing"),
        ({"append_cols": "labl"}, "--append_cols=labl: 'labl' is not a column of --input_schema"),
        ({"checkpoint_path": "results/x"}, "--checkpoint_dir=results/x is not a folder"),
        ({"mode": "evaluate"}, "--label_name is missing, but --mode=evaluate needs it"),
    ],
)
def test_what_is_wrong_in_predict_is_said(predict, changes, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        predict(**changes)


def test_no_distillation_is_fine_tuning(train):
    assert train().objective == FineTuneConfig()
