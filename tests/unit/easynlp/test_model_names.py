"""Folders, EasyNLP's names, and names of the hub."""

import pytest

from raykd.easynlp.model_names import resolve_model
from raykd.errors import ConfigError


def test_easynlps_names_are_aliases():
    assert resolve_model("bert-tiny-uncased") == "huawei-noah/TinyBERT_General_4L_312D"
    assert resolve_model("bert-small-uncased") == "google/bert_uncased_L-6_H-768_A-12"
    assert resolve_model("hfl/macbert-base-zh") == "hfl/chinese-macbert-base"


def test_other_names_stay_what_they_are():
    assert resolve_model("distilbert/distilbert-base-uncased") == "distilbert/distilbert-base-uncased"
    assert resolve_model("s3://bucket/model") == "s3://bucket/model"


def test_a_folder_always_works_with_and_without_dot(tmp_path, monkeypatch):
    (tmp_path / "results" / "bert").mkdir(parents=True)
    (tmp_path / "bert-tiny-uncased").mkdir()
    monkeypatch.chdir(tmp_path)
    for name in ("results/bert", "./results/bert", str(tmp_path / "results" / "bert"), "bert-tiny-uncased"):
        assert resolve_model(name) == name


@pytest.mark.parametrize("name", ["./nothing", "../nothing/here", "/nothing/there", "~/no-such-folder-of-mine"])
def test_a_path_without_a_folder_is_an_error_at_once(name):
    with pytest.raises(ConfigError, match="does not exist"):
        resolve_model(name)


def test_a_checkpoint_of_easynlp_is_to_be_imported(tmp_path):
    for name in ("pytorch_model.bin", "train_config.json"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match="import it once: raykd easynlp import"):
        resolve_model(str(tmp_path))
    (tmp_path / "model.safetensors").touch()
    assert resolve_model(str(tmp_path)) == str(tmp_path)


def test_oss_is_refused():
    with pytest.raises(ConfigError, match="oss://"):
        resolve_model("oss://bucket/model")
