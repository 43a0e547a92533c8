"""Files and folders, local or on s3://, gs:// and hdfs://: everything raykd reads and writes goes through here.

A path is a ``str``. Regions, endpoints and keys come from the environment (``AWS_REGION``, ``AWS_ENDPOINT_URL``, ...), never
from the path, so that a path may be printed. Raises, everywhere: DataError for a path that is absent, of the wrong kind or of
an unknown scheme; ResourceError when the place is full, read-only, or refuses.
"""

import fnmatch
import json
import os
import posixpath
import tempfile
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from raykd.data.file_systems import is_local, naming, open_fs, renames
from raykd.errors import DataError

UPLOAD_BYTES = 8 << 20
"""Bytes that are read from a file and sent to an object store at a time."""


def join(base: str, *parts: str) -> str:
    """``base/part/part``, whatever the scheme."""
    return posixpath.join(base, *parts)


def absolute(path: str) -> str:
    """The same path for a process with another working directory."""
    return os.path.abspath(path.removeprefix("file://")) if is_local(path) else path


def info(path: str) -> pafs.FileInfo:
    """Type, size in bytes and mtime_ns of a path; its type is NotFound where there is nothing."""
    filesystem, inner = open_fs(path)
    with naming(path):
        return filesystem.get_file_info(inner)


def exists(path: str) -> bool:
    """True when a file or folder exists."""
    return bool(info(path).type != pafs.FileType.NotFound)


def is_dir(path: str) -> bool:
    """True when a folder exists."""
    return bool(info(path).type == pafs.FileType.Directory)


def file_size(path: str) -> int:
    """Bytes of a file."""
    found = info(path)
    if found.type != pafs.FileType.File:
        raise DataError(
            f"{path} is a folder, not a file" if found.type == pafs.FileType.Directory else f"{path} does not exist"
        )
    return int(found.size)


def list_dir(path: str) -> list[str]:
    """Full paths of what a folder holds, sorted; [] when it is absent."""
    return sorted(join(path, entry.base_name) for entry in _entries(path))


def file_sizes(path: str) -> dict[str, int]:
    """Names and bytes of the files directly in a folder; {} when it is absent."""
    return {entry.base_name: entry.size for entry in _entries(path) if entry.type == pafs.FileType.File}


def _entries(path: str) -> list[pafs.FileInfo]:
    filesystem, inner = open_fs(path)
    with naming(path):
        return list(filesystem.get_file_info(pafs.FileSelector(inner, allow_not_found=True)))


def remove(path: str) -> None:
    """Delete a file or a folder with everything in it; fine when it is absent."""
    filesystem, inner = open_fs(path)
    kind = info(path).type
    with naming(path):
        if kind == pafs.FileType.Directory:
            filesystem.delete_dir(inner)
        elif kind != pafs.FileType.NotFound:
            filesystem.delete_file(inner)


@contextmanager
def open_input(path: str) -> Iterator[pa.NativeFile]:
    """A file to read from, with ``seek``; compressed content comes as it is stored."""
    filesystem, inner = open_fs(path)
    with naming(path), filesystem.open_input_file(inner) as stream:
        yield stream


@contextmanager
def open_output(path: str) -> Iterator[pa.NativeFile]:
    """A file to write to that appears whole when the block ends, and not at all when it raises.

    What is meant for an object store is written to a temporary file of this machine first: the store's own streams
    complete, as they are closed, what an error has left half-written.
    """
    with _renamed_output(path) if renames(path) else _uploaded_output(path) as stream:
        yield stream


@contextmanager
def _renamed_output(path: str) -> Iterator[pa.NativeFile]:
    filesystem, inner = open_fs(path)
    folder, name = posixpath.split(inner)
    aside = posixpath.join(folder, f".{name}.{uuid.uuid4().hex}")
    with naming(path):
        if folder:
            filesystem.create_dir(folder, recursive=True)
        stream = filesystem.open_output_stream(aside, compression=None)
        done = False
        try:
            yield stream
            stream.close()
            _sync(filesystem, aside)
            filesystem.move(aside, inner)
            done = True
        finally:
            if not done:
                _discard(filesystem, stream, aside)


@contextmanager
def _uploaded_output(path: str) -> Iterator[pa.NativeFile]:
    filesystem, inner = open_fs(path)
    with tempfile.TemporaryDirectory(prefix="raykd-") as folder:
        with naming(folder), pa.OSFile(f"{folder}/file", "wb") as stream:
            yield stream
        with naming(path), pa.OSFile(f"{folder}/file") as source, filesystem.open_output_stream(inner) as target:
            while block := source.read(UPLOAD_BYTES):
                target.write(block)


def _sync(filesystem: pafs.FileSystem, target: str) -> None:
    if filesystem.type_name == "local":
        with open(target, "rb") as written:
            os.fsync(written.fileno())


def _discard(filesystem: pafs.FileSystem, stream: pa.NativeFile, target: str) -> None:
    try:
        stream.close()
    finally:
        if filesystem.get_file_info(target).type == pafs.FileType.File:
            filesystem.delete_file(target)


def read_bytes(path: str) -> bytes:
    """A whole (small) file."""
    with open_input(path) as stream:
        return bytes(stream.read())


def write_bytes(path: str, data: bytes) -> None:
    """Replace a whole file; a reader sees the old content or the new one."""
    with open_output(path) as stream:
        stream.write(data)


def read_json(path: str) -> Any:
    """A JSON file. Raises DataError when it is not JSON."""
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); remove it if an interrupted run left it behind") from None


def write_json(path: str, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values are equal files."""
    write_bytes(path, json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False).encode())


def expand(patterns: Iterable[str]) -> list[str]:
    """The files that paths and globs (``*``, ``?``, ``[...]``, ``**`` for any depth) name, each once, sorted.

    Raises DataError for a pattern that matches nothing, a missing file, or a folder.
    """
    return sorted({path for pattern in patterns for path in _expand(pattern)})


def _expand(pattern: str) -> list[str]:
    found = info(pattern).type
    if found == pafs.FileType.File:
        return [pattern]
    if found == pafs.FileType.Directory:
        raise DataError(f"{pattern} is a folder; name its files, for example {join(pattern, '*.tsv')}")
    parts = pattern.split("/")
    magic = next((i for i, part in enumerate(parts) if _is_magic(part)), None)
    if magic is None:
        raise DataError(f"{pattern} does not exist")
    base = "/".join(parts[:magic]) or ("/" if pattern.startswith("/") else "")
    matches = [path for path, kind in _walk(base, parts[magic:]) if kind == pafs.FileType.File]
    if not matches:
        raise DataError(f"{pattern} matches no file")
    return matches


def _is_magic(part: str) -> bool:
    return any(character in part for character in "*?[")


def _walk(base: str, parts: list[str]) -> Iterator[tuple[str, pafs.FileType]]:
    """Paths below ``base`` whose components match ``parts``, one after the other; names with a leading dot only by name."""
    head, rest = parts[0], parts[1:]
    if head == "**" and rest:
        yield from _walk(base, rest)
    for entry in _entries(base or "."):
        path, is_folder = join(base, entry.base_name), entry.type == pafs.FileType.Directory
        if entry.base_name.startswith(".") and not head.startswith("."):
            continue
        if head == "**" and is_folder:
            yield from _walk(path, parts)
        if fnmatch.fnmatchcase(entry.base_name, head):
            if not rest:
                yield path, entry.type
            elif is_folder and head != "**":
                yield from _walk(path, rest)


def upload_dir(source: str, target: str) -> None:
    """Copy a folder; a ``manifest.json`` goes last, so that what has one is complete."""
    from_fs, from_inner = open_fs(source)
    with naming(source):
        entries = from_fs.get_file_info(pafs.FileSelector(from_inner, recursive=True))
    files = [entry.path for entry in entries if entry.type == pafs.FileType.File]
    for file in sorted(files, key=lambda file: (posixpath.basename(file) == "manifest.json", file)):
        relative = posixpath.relpath(file, from_inner)
        with open_input(join(source, relative)) as reader, open_output(join(target, relative)) as writer:
            while block := reader.read(1 << 20):
                writer.write(block)


@contextmanager
def local_dir(path: str) -> Iterator[str]:
    """A local folder with the content of ``path``: itself if local, else a copy that is deleted at the end."""
    if not is_dir(path):
        raise DataError(f"{path} is not a folder")
    if is_local(path):
        yield path.removeprefix("file://")
        return
    with tempfile.TemporaryDirectory(prefix="raykd-") as folder:
        upload_dir(path, folder)
        yield folder


def rename_dir(source: str, target: str) -> None:
    """Give a folder another name: at once where the file system can, else by copying (``manifest.json`` last) and deleting."""
    filesystem, inner = open_fs(source)
    if not renames(source):
        upload_dir(source, target)
        remove(source)
        return
    moved = open_fs(target)[1]
    with naming(target):
        if posixpath.dirname(moved):
            filesystem.create_dir(posixpath.dirname(moved), recursive=True)
        filesystem.move(inner, moved)
