"""Keys and modes of W&B as the library finds them, and secrets that no tracker gets."""

from pathlib import Path

import pytest

from raykd.errors import ConfigError
from raykd.tracking.credentials import check_tracking, has_wandb_key, wandb_mode, wandb_settings, without_secrets
from tests.unit.tracking.wandb_runs import settings_file


def found() -> tuple[bool, str]:
    return has_wandb_key(wandb_settings()), wandb_mode()


def test_a_key_is_found_where_the_library_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert found() == (False, "offline")
    (tmp_path / "netrc").write_text("machine example.org login user password secret\n")
    assert found() == (False, "offline")
    (tmp_path / "netrc").write_text("machine api.wandb.ai login user password secret\n")
    assert found() == (True, "online")
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert found() == (False, "offline")
    (tmp_path / "netrc").write_text("machine 'broken\n")
    assert found() == (False, "offline")
    monkeypatch.setenv("WANDB_API_KEY", "k")
    assert found() == (True, "online")


def test_the_mode_is_that_of_wandbs_own_order_of_settings(with_key: Path, monkeypatch: pytest.MonkeyPatch):
    assert wandb_mode() == "online"
    settings_file(with_key / "config", "offline")
    assert wandb_mode() == "offline"
    settings_file(with_key / "wandb", "online")
    assert wandb_mode() == "online", "the folder's goes before the home's"
    monkeypatch.setenv("WANDB_MODE", "dryrun")
    assert wandb_mode() == "offline", "the environment goes before both"
    settings_file(with_key / "wandb", "disabled")
    assert wandb_mode() == "offline"
    monkeypatch.delenv("WANDB_MODE")
    assert wandb_mode() == "disabled"


def test_the_home_has_settings_too(with_key: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("WANDB_CONFIG_DIR")
    monkeypatch.setenv("HOME", str(with_key))
    (with_key / ".config").mkdir()
    settings_file(with_key / ".config" / "wandb", "offline")
    assert wandb_mode() == "offline"


def test_online_without_a_key_is_offline_with_a_warning(tmp_path, monkeypatch, caplog):
    monkeypatch.chdir(tmp_path)
    assert wandb_mode() == "offline"
    assert not caplog.records
    monkeypatch.setenv("WANDB_MODE", "online")
    assert wandb_mode() == "offline"
    assert "there is no key" in caplog.text


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("WANDB_MODE", "of-line", "WANDB_MODE is set to what .* Input should be 'online'"),
        ("WANDB_API_KEY", " secret", "API key"),
    ],
)
def test_a_variable_that_wandb_refuses_is_an_error_before_anything_starts(monkeypatch, name: str, value: str, message: str):
    check_tracking("none")
    monkeypatch.setenv(name, value)
    check_tracking("tensorboard")
    with pytest.raises(ConfigError, match=message) as caught:
        check_tracking("wandb")
    assert "secret" not in str(caught.value)


def test_secrets_are_left_out():
    config = {
        "storage": "s3://key:secret@bucket/runs",
        "wandb": {"api_key": "a", "project": "raykd"},
        "AWS_SECRET_ACCESS_KEY": "b",
        "password": "c",
        "files": ["gs://bucket/a", "https://user@host/x"],
        "tokenizer": "bert",
        "pad_token_id": 0,
        "key": "hash",
    }
    assert without_secrets(config) == {
        "storage": "s3://bucket/runs",
        "wandb": {"project": "raykd"},
        "files": ["gs://bucket/a", "https://host/x"],
        "tokenizer": "bert",
        "pad_token_id": 0,
        "key": "hash",
    }
