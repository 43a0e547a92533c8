"""The command that makes a smaller model outside a run."""

import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from raykd import cli
from raykd.errors import ConfigError, DataError, ModelError
from raykd.model_shrink import shrink
from raykd.models import load_config, load_tokenizer
from raykd.progress import Terminal
from tests.unit.models.architectures import pretrained
from tests.unit.models.spelling_tokenizers import spelling_wordpiece


@pytest.fixture
def large(tmp_path: Path) -> str:
    return pretrained(tmp_path / "large", "bert", tokenizer=spelling_wordpiece(), layers=3)


def shrunk(model: str, out: Path, **options) -> None:
    given = {"layers": None, "min_count": None, "text": (), **options}
    shrink(model, out=str(out), **given)


def test_layers_and_tokens_of_files_are_kept(large, tmp_path):
    (tmp_path / "a.tsv").write_text("the film\t1\nplot\t0\n")
    (tmp_path / "b.tsv").write_text("the plot\t1\n")
    text = ["--text", str(tmp_path / "?.tsv"), "--min-count", "2"]
    result = CliRunner().invoke(cli.app, ["shrink", large, "--layers", "0,2", *text, "--out", str(tmp_path / "small")])
    assert result.exit_code == 0, result.output
    small = load_config(str(tmp_path / "small"))
    tokens = set(load_tokenizer(str(tmp_path / "small")).get_vocab())
    assert small.num_hidden_layers == 2
    assert {"the", "plot"} <= tokens
    assert not {"film", "good"} & tokens
    printed = result.stdout
    assert [line.split()[0] for line in printed.splitlines()][1:] == ["embeddings", "encoder", "head", "total", "tokens", "on"]
    counts = dict(line.split()[::2] for line in printed.splitlines()[1:6])
    assert counts["tokens"] == f"{small.vocab_size}"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({}, "there is nothing to shrink: give --layers"),
        ({"layers": "0 2,4"}, "--layers 0 2,4: give numbers of layers from 0, joined by commas"),
        ({"layers": "9" * 5000}, "give numbers of layers from 0, joined by commas"),
        ({"layers": "0;1"}, "--layers 0;1: give numbers of layers from 0, joined by commas"),
        ({"layers": "0", "min_count": 2}, "--min-count 2 counts the tokens of a text; give its files with --text"),
    ],
)
def test_options_that_do_not_go_together(large, tmp_path, options, reason):
    with pytest.raises(ConfigError, match=reason):
        shrunk(large, tmp_path / "small", **options)


def test_nothing_is_overwritten(large, tmp_path):
    (tmp_path / "small").mkdir()
    with pytest.raises(ConfigError, match="small exists and is not overwritten"):
        shrunk(large, tmp_path / "small", layers="0")


def test_layers_that_do_not_exist_leave_nothing(large, tmp_path):
    with pytest.raises(ModelError, match=r"layers = \[0, 3\]: .*large has 3 layers, 0 to 2, and no layer 3"):
        shrunk(large, tmp_path / "small", layers="0,3")
    assert not (tmp_path / "small").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--layers", "0,3"], "has 3 layers, 0 to 2, and no layer 3; leave it out"),
        (["--text", "absent.tsv"], "raykd: --text absent.tsv does not exist; correct the path\n"),
    ],
)
def test_mistakes_are_found_before_transformers_is_imported(large, tmp_path, options, message):
    code = "import sys\nsys.modules['transformers'] = None\nfrom raykd.cli import main\nmain()"
    command = [sys.executable, "-c", code, "shrink", large, "--out", str(tmp_path / "small"), *options]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_text_in_another_encoding_is_refused(large, tmp_path):
    (tmp_path / "a.tsv").write_bytes("good\nschön\n".encode("latin-1"))
    with pytest.raises(DataError, match=r"a\.tsv:2: not UTF-8 text"):
        shrunk(large, tmp_path / "small", text=[str(tmp_path / "a.tsv")])
    assert not (tmp_path / "small").exists()


def test_blank_lines_of_a_text_are_passed_over(large, tmp_path):
    (tmp_path / "a.txt").write_text("the film\n\n \nthe plot\n")
    shrunk(large, tmp_path / "small", text=[str(tmp_path / "a.txt")])
    assert {"the", "film", "plot"} <= set(load_tokenizer(str(tmp_path / "small")).get_vocab())


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.jsonl", '{"text": "the film"}\n', r"a\.jsonl: lines of text or TSV are counted"),
        ("a.csv.gz", "", r"a\.csv\.gz: lines of text or TSV are counted"),
        ("a.txt", "\n\n", "there is no text, so that no token would be kept"),
        ("a.txt", "", "there is no text, so that no token would be kept"),
    ],
)
def test_files_without_lines_of_text_are_refused(large, tmp_path, name, content, reason):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=reason):
        shrunk(large, tmp_path / "small", text=[str(tmp_path / name)])
    assert not (tmp_path / "small").exists()


def test_the_smaller_model_exports(tmp_path, quick_export):
    pytest.importorskip("onnxruntime", reason="ONNX export needs pip install 'raykd[export]'")
    from raykd.model_export import export

    large = pretrained(tmp_path / "large", "distilbert", tokenizer=spelling_wordpiece(), layers=3)
    (tmp_path / "rows.tsv").write_text("the film plot\n")
    shrunk(large, tmp_path / "small", layers="0,2", text=[str(tmp_path / "rows.tsv")])
    (made,) = export(str(tmp_path / "small"), int8=False, terminal=Terminal())
    assert made.agreement == 1.0
