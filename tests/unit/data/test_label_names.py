"""Names of labels from files."""

from pathlib import Path

import pytest

from raykd.data.label_names import read_labels
from raykd.errors import ConfigError


def test_label_files(tmp_path: Path) -> None:
    path = tmp_path / "labels"
    path.write_text("a\n b c \r\n\u2028d")
    assert read_labels(str(path)) == ("a", "b c", "d")
    for content, complaint in (
        (b"a\n\nb\n", "line 2 of .* is blank"),
        (b"a\nb\n \n", "line 3 of .* is blank"),
        (b"a\na\n", "each once"),
        (b"a\n", "at least two"),
        (b"\xff", "not UTF-8"),
        ("a\nb".encode("utf-16"), "not UTF-8"),
    ):
        path.write_bytes(content)
        with pytest.raises(ConfigError, match=complaint):
            read_labels(str(path))
    with pytest.raises(ConfigError, match=r"there is no file 0,1; give a list of labels"):
        read_labels("0,1")
