"""Paths on the local disk and on another pyarrow file system (``mock://`` keeps its files in memory)."""

import errno
import os
from pathlib import Path

import pytest

from raykd.data import storage
from raykd.errors import DataError, ResourceError


@pytest.fixture(params=["local", "relative", "mock"])
def base(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    if request.param == "relative":
        monkeypatch.chdir(tmp_path)
        return "base"
    return str(tmp_path) if request.param == "local" else f"mock://{tmp_path.name}/base"


def test_writes_and_reads(base: str) -> None:
    path = storage.join(base, "deep", "er", "file.bin")
    assert not storage.exists(path)
    storage.write_bytes(path, b"one")
    storage.write_bytes(path, b"two\n")
    assert storage.read_bytes(path) == b"two\n"
    assert storage.exists(path)
    assert storage.file_size(path) == 4
    assert storage.is_dir(storage.join(base, "deep"))
    assert storage.list_dir(storage.join(base, "deep")) == [storage.join(base, "deep", "er")]
    assert storage.file_sizes(storage.join(base, "deep", "er")) == {"file.bin": 4}


def test_json_is_sorted(base: str) -> None:
    path = storage.join(base, "value.json")
    storage.write_json(path, {"b": [1, None], "a": "é"})
    assert storage.read_json(path) == {"a": "é", "b": [1, None]}
    assert storage.read_bytes(path).index(b'"a"') < storage.read_bytes(path).index(b'"b"')
    storage.write_bytes(path, b"{")
    with pytest.raises(DataError, match=r"value\.json is not JSON"):
        storage.read_json(path)


def test_a_file_whose_writing_fails_does_not_appear(base: str) -> None:
    path = storage.join(base, "file")
    storage.write_bytes(path, b"old")

    def fail() -> None:
        with storage.open_output(path) as stream:
            stream.write(b"new")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert storage.read_bytes(path) == b"old"
    assert storage.list_dir(base) == [path]


def test_removes_files_and_trees(base: str) -> None:
    for name in ("kept", "tree/a", "tree/b/c"):
        storage.write_bytes(storage.join(base, name), b"")
    storage.remove(storage.join(base, "tree"))
    storage.remove(storage.join(base, "absent"))
    assert storage.list_dir(base) == [storage.join(base, "kept")]
    storage.remove(storage.join(base, "kept"))
    assert storage.list_dir(base) == []
    assert storage.list_dir(storage.join(base, "absent")) == []


def test_missing_and_mistaken_paths_are_named(base: str) -> None:
    storage.write_bytes(storage.join(base, "file"), b"")
    for path in (storage.join(base, "absent"), storage.join(base, "file", "inside")):
        with pytest.raises(DataError, match=path):
            storage.read_bytes(path)
        with pytest.raises(DataError, match=path):
            storage.file_size(path)
    with pytest.raises(DataError, match="folder"):
        storage.file_size(base)


def test_expands_globs(base: str) -> None:
    for name in ("b.tsv", "a.tsv", "a.txt", ".hidden.tsv", "x/c.tsv", "x/y/d.tsv", "odd[1].tsv", "odd1.tsv"):
        storage.write_bytes(storage.join(base, name), b"")

    def names(*patterns: str) -> list[str]:
        found = storage.expand(storage.join(base, pattern) for pattern in patterns)
        return [path.removeprefix(base + "/") for path in found]

    assert names("?.tsv") == ["a.tsv", "b.tsv"]
    assert names("b.tsv", "[ab].tsv") == ["a.tsv", "b.tsv"]
    assert names("*/*.tsv") == ["x/c.tsv"]
    assert names("**/[cd].tsv") == ["x/c.tsv", "x/y/d.tsv"]
    assert names("**/a.tsv") == ["a.tsv"]
    assert names("odd[1].tsv") == ["odd[1].tsv"]
    for pattern, complaint in (
        ("*.csv", "matches no file; correct the pattern"),
        ("c.tsv", "does not exist; correct the path"),
        ("x", "is a folder"),
        ("x*", "matches"),
    ):
        with pytest.raises(DataError, match=complaint):
            names(pattern)


def test_folders_travel(base: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "manifest.json").write_text("{}")
    (source / "sub" / "data").write_bytes(b"\x00data")
    target = storage.join(base, "target")
    storage.upload_dir(str(source), target)
    with storage.local_dir(target) as folder:
        assert (Path(folder) / "sub" / "data").read_bytes() == b"\x00data"
    storage.rename_dir(target, storage.join(base, "new", "name"))
    assert not storage.exists(target)
    assert storage.read_bytes(storage.join(base, "new", "name", "manifest.json")) == b"{}"
    with pytest.raises(DataError, match="not a folder"), storage.local_dir(target):
        pass


def test_a_local_folder_is_not_copied(tmp_path: Path) -> None:
    with storage.local_dir(str(tmp_path)) as folder:
        assert folder == str(tmp_path)


def test_a_full_disk_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    path = str(tmp_path / "big")
    with pytest.raises(ResourceError, match=r"big: No space left on device"):
        storage.write_bytes(path, b"x")
    assert list(tmp_path.iterdir()) == []


def test_addresses_that_cannot_be() -> None:
    with pytest.raises(DataError, match=r"ftp://host.*use a local path, s3://"):
        storage.exists("ftp://host/file")
    with pytest.raises(DataError, match="environment") as caught:
        storage.exists("s3://user:secret@bucket/file")
    assert "secret" not in str(caught.value)


def test_absolute_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert storage.absolute("a/b") == str(tmp_path / "a" / "b")
    assert storage.absolute(f"file://{tmp_path}/a") == str(tmp_path / "a")
    assert storage.absolute("s3://bucket/a") == "s3://bucket/a"
