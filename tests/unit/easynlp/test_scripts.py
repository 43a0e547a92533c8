"""Every flag of the documented flows becomes what the documentation says."""

import pytest

from raykd.config import FineTuneConfig, VanillaKDConfig
from raykd.easynlp.columns import LogitsFile
from raykd.easynlp.settings import PredictSettings, ScoreSettings, TrainSettings, Workers, read_settings
from tests.easynlp_world import commands

PAIR = "label:str:1,sid1:str:1,sid2:str:1,sent1:str:1,sent2:str:1"
MATCH = "label:str:1,id:str:1,id2:str:1,sent1:str:1,sent2:str:1"
SCRIPTS = {
    "sst2_text_classify.sh": ("sent:str:1,label:str:1", "sent", None),
    "mrpc_text_classify.sh": (PAIR, "sent1", "sent2"),
    "mrpc_text_match.sh": (MATCH, "sent1", "sent2"),
}


@pytest.fixture
def variables(tmp_path):
    names = {
        "TRAIN": "train.tsv",
        "DEV": "dev.tsv",
        "TEACHER_MODEL": "bert-large-uncased",
        "STUDENT_MODEL": "bert-small-uncased",
    }
    names |= {"TEACHER_CKPT": str(tmp_path / "teacher"), "STUDENT_CKPT": str(tmp_path / "student")}
    for name in ("teacher", "student"):
        (tmp_path / name).mkdir()
    return names | {"LOGITS_PATH": "results/logits.tsv", "PREDICTIONS": "student_pred.tsv"}


@pytest.mark.parametrize("script", SCRIPTS)
def test_every_flag_of_a_script_is_resolved(script, variables):
    schema, first, second = SCRIPTS[script]
    parsed = [read_settings(arguments[1:])[0] for arguments in commands(script, variables)]
    teacher, logits, student, predictions, *evaluation = parsed
    assert [type(one) for one in parsed[:4]] == [TrainSettings, PredictSettings, TrainSettings, PredictSettings]
    assert (teacher.model, student.model) == ("google-bert/bert-large-uncased", "google/bert_uncased_L-6_H-768_A-12")
    for one in (teacher, student):
        assert (one.train_file, one.dev_file, one.seed, one.precision) == ("train.tsv", "dev.tsv", 42, "fp32")
        kept = {"epochs", "batch_size", "micro_batch_size", "learning_rate", "warmup_ratio"}
        assert one.training.model_dump(include=kept) == {
            "epochs": 1, "batch_size": 32, "micro_batch_size": None, "learning_rate": 3e-5, "warmup_ratio": 0.1,
        }  # fmt: skip
        assert (one.training.weight_decay, one.training.max_grad_norm, one.training.log_every) == (1e-4, 1.0, 100)
        assert (one.columns.label, one.columns.labels) == ("label", ("0", "1"))
    assert (teacher.training.evaluate_every, student.training.evaluate_every) == (100, 200)
    assert (teacher.objective, teacher.logits) == (FineTuneConfig(), None)
    assert student.objective == VanillaKDConfig(temperature=5, alpha=0.2)
    assert student.logits == LogitsFile("results/logits.tsv", "logits")
    assert (teacher.columns.schema, student.columns.schema) == (schema, f"{schema},logits:float:2")
    for one in parsed:
        assert (one.columns.first_sequence, one.columns.second_sequence) == (first, second)
        assert (one.columns.sequence_length, one.columns.skip_header, one.workers) == (128, False, Workers(1, gpu=True))
    assert (logits.file, logits.outputs, logits.output_columns) == ("train.tsv", "results/logits.tsv", ("logits",))
    assert (logits.columns.label, logits.batch_rows) == (None, 32)
    assert (logits.checkpoint_dir, student.checkpoint_dir) == (variables["TEACHER_CKPT"], variables["STUDENT_CKPT"])
    all_columns = ("predictions", "probabilities", "logits")
    assert predictions.output_columns == (all_columns if script == "mrpc_text_match.sh" else ("predictions",))
    for one in evaluation:
        assert (type(one), one.file, one.labels) == (ScoreSettings, "dev.tsv", ("0", "1"))
