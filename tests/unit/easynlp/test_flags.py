"""The table of flags and how a command line is read by it."""

import contextlib
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raykd.easynlp.flags import FLAGS, flag_table, parse_flags
from raykd.easynlp.user_parameters import HINTS, META_PARAMETERS, parameter_table
from raykd.errors import ConfigError

DOCUMENT = Path(__file__).parents[3] / "docs" / "easynlp.md"
EASYNLP_FLAGS = """
mode app_name tables skip_first_line input_schema first_sequence second_sequence label_name label_enumerate_values
checkpoint_dir outputs output_schema append_cols sequence_length micro_batch_size epoch_num learning_rate weight_decay
gradient_accumulation_steps random_seed save_checkpoint_steps worker_gpu worker_count data_threads predict_queue_size
predict_slice_size predict_thread_num predict_table_read_thread_num modelzoo_base_dir buckets user_defined_parameters
logging_steps warmup_proportion max_grad_norm optimizer_type save_all_checkpoints resume_from_checkpoint use_amp
use_torchacc do_lower_case distributed_backend local_rank master_port worker_hosts odps_config user_script
user_entry_file mg_model checkpoint_path train_batch_size wd mn optimizer
"""


def test_every_flag_of_easynlp_is_there():
    assert sorted(EASYNLP_FLAGS.split()) == sorted(name for flag in FLAGS for name in (flag.name, *flag.aliases))


def test_defaults_are_easynlps():
    values = parse_flags([]).values
    expected = {
        "mode": "train", "app_name": "text_classify", "sequence_length": 16, "micro_batch_size": 2, "epoch_num": 3,
        "learning_rate": 5e-5, "weight_decay": 1e-4, "gradient_accumulation_steps": 1, "random_seed": 1234,
        "save_checkpoint_steps": None, "worker_gpu": -1, "worker_count": 1, "logging_steps": 100, "warmup_proportion": 0.1,
        "max_grad_norm": 1.0, "optimizer_type": "AdamW", "use_amp": False, "skip_first_line": False, "output_schema": "",
    }  # fmt: skip
    assert {name: values[name] for name in expected} == expected


@pytest.mark.parametrize(
    "arguments", [["--epoch_num=5"], ["--epoch_num", "5"], ["--epoch_num", "5.0"], ["--epoch_num=9", "--epoch_num=5"]]
)
def test_both_forms_and_the_last_counts(arguments):
    flags = parse_flags(arguments)
    assert flags["epoch_num"] == 5
    assert flags.given == {"epoch_num"}


def test_values_may_hold_equal_signs_spaces_and_minus():
    flags = parse_flags(["--user_defined_parameters=\n  a=b\n  c=d ", "--worker_gpu", "-1", "--tables=a=b.tsv"])
    assert flags["user_defined_parameters"] == "\n  a=b\n  c=d "
    assert flags["worker_gpu"] == -1
    assert flags["tables"] == "a=b.tsv"


@pytest.mark.parametrize(
    ("alias", "name"),
    [("checkpoint_path", "checkpoint_dir"), ("train_batch_size", "micro_batch_size"), ("wd", "weight_decay"),
     ("mn", "max_grad_norm"), ("optimizer", "optimizer_type")],
)  # fmt: skip
def test_aliases_mean_the_same(alias, name):
    value = "AdamW" if alias == "optimizer" else "3"
    assert parse_flags([f"--{alias}={value}"]).values == parse_flags([f"--{name}={value}"]).values


def test_switches_take_no_value_but_may_say_which():
    assert parse_flags(["--skip_first_line", "--use_amp=True"])["skip_first_line"]
    assert not parse_flags(["--use_amp=False"])["use_amp"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--epoch_nun=3"], "unknown flag --epoch_nun; did you mean --epoch_num?"),
        (["--zzzzqqqq"], "unknown flag --zzzzqqqq"),
        (["--epoch_num=three"], "--epoch_num=three: give a value of type int"),
        (["--epoch_num=2.5"], "give a value of type int"),
        (["--epoch_num=inf"], "give a value of type int"),
        (["--epoch_num=0"], "at least 1"),
        (["--learning_rate=nan"], "--learning_rate=nan"),
        (["--warmup_proportion=1"], "at least 0 and below 1"),
        (["--mode=tain"], "allowed are train, evaluate, predict; did you mean train?"),
        (["--tables"], "--tables has no value"),
        (["--tables", "--mode=train"], "--tables has no value"),
        (["train.tsv"], "unexpected argument 'train.tsv'"),
        (["--skip_first_line=yes"], "takes no value, or True or False"),
        (["--app_name=vectorization"], "allowed are text_classify"),
    ],
)
def test_mistakes_are_named(arguments, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_flags(arguments, hints=HINTS)


@given(st.lists(st.text(max_size=30), max_size=5))
def test_nothing_but_our_error_comes_out(arguments):
    with contextlib.suppress(ConfigError):
        parse_flags(arguments)


def test_a_missing_flag_says_what_it_is_for():
    with pytest.raises(ConfigError, match="--tables is missing, but --mode=predict needs it"):
        parse_flags(["--mode=predict"]).required("tables")


def test_the_document_holds_the_tables():
    document = DOCUMENT.read_text(encoding="utf-8")
    assert flag_table() in document
    assert parameter_table() in document
    assert parameter_table(META_PARAMETERS) in document


def test_the_home_folder_is_expanded_in_paths_and_variables_are_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")
    flags = parse_flags(["--tables=~/a.tsv,$HOME/b.tsv,~/c.tsv", "--checkpoint_dir", "~/out", "--label_name=~/x"])
    assert flags["tables"] == "/home/me/a.tsv,$HOME/b.tsv,/home/me/c.tsv"
    assert (flags["checkpoint_dir"], flags["label_name"]) == ("/home/me/out", "~/x")


def test_a_flag_given_twice_is_warned_of_when_the_values_differ(caplog: pytest.LogCaptureFixture):
    parse_flags(["--epoch_num=2", "--epoch_num=2"])
    assert not caplog.records
    parse_flags(["--epoch_num=2", "--epoch_num=3"])
    assert "--epoch_num is given twice with different values; the last counts" in caplog.text
