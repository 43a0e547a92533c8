"""The grammar of --user_defined_parameters."""

import re

import pytest

from raykd.easynlp.user_parameters import parse_user_parameters
from raykd.errors import ConfigError


def test_whitespace_of_any_kind_separates_and_types_are_read():
    text = "\n  pretrain_model_name_or_path=./m\n\tenable_distillation=True type=vanilla_kd\ntemperature=5 alpha=0.2 "
    assert parse_user_parameters(text) == {
        "pretrain_model_name_or_path": "./m",
        "enable_distillation": True,
        "type": "vanilla_kd",
        "temperature": 5.0,
        "alpha": 0.2,
    }


def test_nothing_is_fine():
    assert parse_user_parameters("") == parse_user_parameters(" \n ") == {}


def test_a_value_keeps_its_equal_signs():
    assert parse_user_parameters("logits_saved_path=a=b=c.tsv") == {"logits_saved_path": "a=b=c.tsv"}


@pytest.mark.parametrize("text", ["enable_distillation=False", "enable_distillation=false"])
def test_false_is_false(text):
    assert parse_user_parameters(text) == {"enable_distillation": False}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("alpha", "'alpha' is not of the form key=value"),
        ("=3", "'=3' is not of the form key=value"),
        ("{'alpha':", "not of the form key=value"),
        ("alpha=high", "alpha=high; give a number"),
        ("enable_distillation=yes", "enable_distillation=yes; give True or False"),
        ("temprature=5", "unknown key temprature; did you mean temperature?"),
        ("two_tower=True", "two_tower=True; raykd trains text classifiers of one encoder"),
        ("gamma=1.5", "gamma=1.5; give a whole number"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ConfigError, match=re.escape(message)):
        parse_user_parameters(text)


def test_other_tasks_switches_may_be_off():
    assert parse_user_parameters("two_tower=False enable_fewshot=False") == {"two_tower": False, "enable_fewshot": False}


def test_of_two_values_for_one_key_the_last_counts_with_a_warning(caplog: pytest.LogCaptureFixture):
    assert parse_user_parameters("alpha=0.2 alpha=0.2") == {"alpha": 0.2}
    assert not caplog.records
    assert parse_user_parameters("alpha=0.2 temperature=2 alpha=0.4") == {"alpha": 0.4, "temperature": 2.0}
    assert "alpha is given as 0.2 and as 0.4; the last counts" in caplog.text


def test_the_home_folder_is_expanded_in_paths(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", "/home/me")
    text = "pretrain_model_name_or_path=~/m logits_saved_path=~/l.tsv"
    assert parse_user_parameters(text) == {
        "pretrain_model_name_or_path": "/home/me/m",
        "logits_saved_path": "/home/me/l.tsv",
    }
