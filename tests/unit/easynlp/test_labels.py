"""Labels from a flag, a file, or a checkpoint."""

import json

import pytest

from raykd.easynlp.labels import read_labels, read_mapping, write_mapping
from raykd.errors import ConfigError


def test_split_at_commas_and_not_stripped():
    assert read_labels("positive, negative") == ("positive", " negative")


def test_default():
    assert read_labels(None) == ("0", "1")


def test_a_file_has_one_a_line_stripped(tmp_path):
    path = tmp_path / "labels.txt"
    path.write_bytes("\ufeffgut \r\nschlecht\nbesser, aber\n".encode())
    assert read_labels(str(path)) == ("gut", "schlecht", "besser, aber")


def test_a_folder_of_that_name_is_no_file(tmp_path, monkeypatch):
    (tmp_path / "a,b").mkdir()
    monkeypatch.chdir(tmp_path)
    assert read_labels("a,b") == ("a", "b")


@pytest.mark.parametrize("value", ["one", "a,a", ""])
def test_two_different_labels_are_needed(value):
    with pytest.raises(ConfigError, match="at least two labels, each once"):
        read_labels(value)


def test_a_file_that_is_not_text(tmp_path):
    (tmp_path / "labels").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="is not UTF-8 text"):
        read_labels(str(tmp_path / "labels"))


def test_the_mapping_is_easynlps_and_comes_back(tmp_path):
    write_mapping(str(tmp_path), ("b", "a", "c"))
    assert json.loads((tmp_path / "label_mapping.json").read_text()) == {"b": 0, "a": 1, "c": 2}
    assert read_mapping(str(tmp_path)) == ("b", "a", "c")
    assert read_mapping(str(tmp_path / "elsewhere")) is None


@pytest.mark.parametrize("content", ['{"a": 0, "b": 2}', '["a"]', '{"a": "0"}'])
def test_a_mapping_with_other_ids_is_refused(tmp_path, content):
    (tmp_path / "label_mapping.json").write_text(content)
    with pytest.raises(ConfigError, match="one of the ids 0, 1, 2"):
        read_mapping(str(tmp_path))
