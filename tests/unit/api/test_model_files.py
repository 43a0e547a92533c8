"""``raykd.shrink`` and ``raykd.export``."""

from pathlib import Path
from typing import Any

import pytest

import raykd
from raykd import model_export
from raykd.api.trained_model import TrainedModel
from tests.unit.models.architectures import pretrained
from tests.unit.models.spelling_tokenizers import spelling_wordpiece


@pytest.fixture
def large(tmp_path: Path) -> TrainedModel:
    path = pretrained(tmp_path / "large", "bert", tokenizer=spelling_wordpiece(), layers=3)
    return TrainedModel(path, "student", "large")


def test_shrink_keeps_layers_and_tokens(large: TrainedModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from raykd.models import load_config

    text = tmp_path / "rows.tsv"
    text.write_text("a b\n")
    out = raykd.shrink(large, tmp_path / "small", layers=(0, 2), text=[str(text)])
    assert out == str(tmp_path / "small")
    assert load_config(out).num_hidden_layers == 2
    assert load_config(out).vocab_size < load_config(large.path).vocab_size
    assert "on disk" in capsys.readouterr().err
    with pytest.raises(raykd.ConfigError, match="exists and is not overwritten"):
        raykd.shrink(large, out, layers=[0])


def test_export_is_the_commands_export(large: TrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """tests/unit/test_model_export.py exports models."""
    calls: list[Any] = []
    monkeypatch.setattr(model_export, "export", lambda model, **given: calls.append((model, given)) or [])
    assert raykd.export(large, int8=True, tolerance=1.0) == []
    model, given = calls[0]
    assert (model, given["int8"], given["tolerance"]) == (large.path, True, 1.0)


def test_export_refuses_another_folder(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime", reason="pip install 'raykd[export]'")
    with pytest.raises(raykd.ConfigError, match="is not a model folder"):
        raykd.export(tmp_path)
