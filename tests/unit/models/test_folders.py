"""Model folders that are refused, and the advice given."""

import shutil
import subprocess
import sys

import pytest
import torch

from raykd.errors import ModelError
from raykd.models import (
    load_classifier,
    load_config,
    load_tokenizer,
    model_digest,
)
from raykd.models.folders import conversion_command
from tests.unit.models.small_models import LABELS, edit_weights, save, small_classifier


def test_missing_folder_is_said_at_once(tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        load_config(str(tmp_path / "nowhere"))
    (tmp_path / "file").write_text("")
    with pytest.raises(ModelError, match="is a file"):
        load_tokenizer(str(tmp_path / "file"))


def test_misspelt_relative_path_is_not_taken_for_a_hub_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "demo").mkdir()
    with pytest.raises(ModelError, match="model folder demo/teachr does not exist"):
        load_config("demo/teachr")


def test_pickled_weights_are_refused_and_the_advice_works(tmp_path):
    folder = save(tmp_path / "model")
    weights = load_classifier(str(folder), labels=LABELS).state_dict()
    torch.save(weights, folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="pickle") as error:
        load_classifier(str(folder), labels=LABELS)
    assert conversion_command(folder) in str(error.value)
    command = conversion_command(folder).replace("python", sys.executable, 1)
    subprocess.run(command, shell=True, check=True, timeout=120)
    opened = load_classifier(str(folder), labels=LABELS).state_dict()
    assert all(torch.equal(opened[name], tensor) for name, tensor in weights.items())


def test_folder_without_weights_or_config(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(ModelError, match=r"config\.json"):
        load_classifier(str(tmp_path / "empty"), labels=LABELS)
    folder = save(tmp_path / "model")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"no model\.safetensors"):
        load_classifier(str(folder), labels=LABELS)


def test_incomplete_shards_are_refused(tmp_path):
    model = small_classifier()
    model.save_pretrained(tmp_path, max_shard_size="8KB")
    shards = sorted(tmp_path.glob("model-*.safetensors"))
    assert len(shards) > 1
    load_classifier(str(tmp_path), labels=LABELS)
    shards[-1].unlink()
    with pytest.raises(ModelError, match="lacks some of the files"):
        load_classifier(str(tmp_path), labels=LABELS)


def test_digest_follows_the_weights_and_not_the_place(tmp_path):
    folder = save(tmp_path / "model")
    shutil.copytree(folder, tmp_path / "copy")
    assert model_digest(str(tmp_path / "copy")) == model_digest(str(folder))
    edit_weights(tmp_path / "copy", lambda w: {k: v + 1e-3 for k, v in w.items()})
    assert model_digest(str(tmp_path / "copy")) != model_digest(str(folder))
