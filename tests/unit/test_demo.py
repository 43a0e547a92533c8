"""The demo's folder: rows and models, the same at every build, its job file, and errors of its command."""

import os
from pathlib import Path

import pytest
import yaml

from raykd import demo
from raykd.config import load_job
from raykd.data import synthetic
from raykd.errors import ConfigError, ModelError, RaykdError
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


@pytest.fixture
def quick_build(monkeypatch):
    """Folders with the files of the demo, without their content."""

    def build(folder):
        for name in ("train.tsv", "validation.tsv", "test.tsv"):
            Path(folder, name).parent.mkdir(parents=True, exist_ok=True)
            Path(folder, name).touch()
        for name in ("teacher", "student"):
            Path(folder, name).mkdir()

    monkeypatch.setattr(demo, "build", build)


@pytest.mark.parametrize("folder", ["raykd-demo", "a b/d: {x}, #1", "ABSOLUTE/demo", "./demo/"])
def test_the_job_is_that_of_the_package_on_the_files_of_the_folder(folder, tmp_path, monkeypatch, quick_build):
    monkeypatch.chdir(tmp_path)
    folder = folder.replace("ABSOLUTE", str(tmp_path))
    job = demo.make_demo(folder, print_line=lambda _: None)
    config = load_job(job)
    assert all(os.path.isfile(path) for path in (*config.data.train, *config.data.validation, *config.data.test))
    assert os.path.isdir(config.teacher.model)
    assert os.path.isdir(config.student.model)
    as_in_package = yaml.safe_load(Path(demo.__file__).with_name("demo_job.yaml").read_text())
    content = yaml.safe_load(Path(job).read_text())
    for section in (content, as_in_package):
        section["data"] |= dict.fromkeys(("train", "validation", "test"))
        section["teacher"]["model"] = section["student"]["model"] = None
    assert content == as_in_package


def test_a_finished_folder_is_kept_and_an_unfinished_one_made_again(tmp_path, quick_build, monkeypatch):
    folder, lines = tmp_path / "demo", []
    with monkeypatch.context() as patched:
        patched.setattr(demo, "job_text", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            demo.make_demo(str(folder), print_line=lines.append)
    assert not folder.exists()
    job = demo.make_demo(str(folder), print_line=lines.append)
    Path(job).write_text("changed")
    assert demo.make_demo(str(folder), print_line=lines.append) == job
    assert Path(job).read_text() == "changed"
    assert [path.name for path in tmp_path.iterdir()] == ["demo"]
    assert lines[-1] == f"demo: {folder} is there, with its job {job}"


def test_a_folder_with_other_files_is_refused(tmp_path, quick_build):
    (tmp_path / "train.tsv").write_text("mine")
    with pytest.raises(ConfigError, match=r"exists and has no job\.yaml of the demo; give a folder that does not exist"):
        demo.make_demo(str(tmp_path), print_line=lambda _: None)
    assert (tmp_path / "train.tsv").read_text() == "mine"


@pytest.mark.parametrize("folder", ["s3://bucket/demo", "demo[1]", "*"])
def test_a_folder_that_a_job_cannot_name_is_refused(folder):
    with pytest.raises(ConfigError, match="give a folder of this machine"):
        demo.make_demo(folder, print_line=lambda _: None)


def test_a_folder_that_cannot_be_written_is_an_error_of_the_user(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RaykdError):
        demo.make_demo(str(tmp_path / "file" / "demo"), print_line=lambda _: None)
