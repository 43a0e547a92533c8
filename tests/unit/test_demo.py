"""The demo's folder: rows and models, the same at every build, and errors of its command."""

import subprocess
import sys

import pytest

from raykd import demo
from raykd.data import synthetic
from raykd.errors import ConfigError, ModelError
from raykd.models import load_classifier, load_tokenizer, max_sequence_length
from tests.unit.tsv_rows import read_rows


def test_the_demo_folder_is_complete_and_repeatable(tmp_path):
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name
        demo.build(str(folder), train_rows=400, validation_rows=50, test_rows=50, pretrain_rows=400)
        files = [path for path in folder.rglob("*") if path.is_file() and "cache" not in path.relative_to(folder).parts]
        contents.append({str(path.relative_to(folder)): path.read_bytes() for path in files})
    assert contents[0] == contents[1]
    for name in ("teacher", "student"):
        folder = str(tmp_path / "one" / name)
        model, tokenizer = load_classifier(folder, labels=synthetic.LABELS), load_tokenizer(folder)
        assert model.config.vocab_size == len(tokenizer)
        lengths = [len(tokenizer(row[0])["input_ids"]) for row in read_rows(str(tmp_path / "one" / "train.tsv"))]
        assert max(lengths) <= max_sequence_length(model.config)
    with pytest.raises(ModelError, match="no trained classifier head"):
        load_classifier(str(tmp_path / "one" / "student"), labels=synthetic.LABELS, new_head=False)


def test_the_tokenizer_spells_unknown_words(tmp_path):
    tokenizer = demo.make_tokenizer(["the lens is small", "the room"])
    assert tokenizer.tokenize("The LENS") == ["the", "lens"]
    assert tokenizer.tokenize("rooms") == ["room", "##s"]
    assert tokenizer.tokenize("lit") == ["l", "##i", "##t"]


def test_the_command_takes_one_folder(capsys):
    with pytest.raises(ConfigError, match=r"usage: python -m raykd\.demo FOLDER"):
        demo.main([])


def test_a_folder_that_cannot_be_written_is_said_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    command = [sys.executable, "-m", "raykd.demo", str(tmp_path / "file" / "demo")]
    result = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert result.returncode == 2
    assert result.stderr.startswith("raykd: ")
    assert result.stderr.count("\n") == 1
