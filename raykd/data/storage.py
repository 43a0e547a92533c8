"""Files and folders, local or on s3://, gs:// and hdfs://; raykd reads and writes all files through this module.

A path is a ``str``. Regions, endpoints and keys come from the environment (``AWS_REGION``, ``AWS_ENDPOINT_URL``, ...), never
from the path, so that a path may be printed. Every function raises DataError for a path that is absent, of the wrong kind or
of an unknown scheme; ResourceError when the storage is full, read-only, or denies access.
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

from raykd.data.file_systems import is_local, open_fs, path_errors, renames_atomically
from raykd.errors import DataError

UPLOAD_BYTES = 8 << 20
"""Bytes per read and write of an upload to an object store."""


def join(base: str, *parts: str) -> str:
    """``base/part/part``, whatever the scheme."""
    return posixpath.join(base, *parts)


def absolute(path: str) -> str:
    """The absolute path, valid in processes with another working directory."""
    return os.path.abspath(path.removeprefix("file://")) if is_local(path) else path


def info(path: str) -> pafs.FileInfo:
    """Type, size in bytes and mtime_ns of a path; the type of an absent path is NotFound."""
    filesystem, inner = open_fs(path)
    with path_errors(path):
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
    """Full paths of a folder's entries, sorted; [] when it is absent."""
    return sorted(join(path, entry.base_name) for entry in _entries(path))


def file_sizes(path: str) -> dict[str, int]:
    """Names and bytes of the files directly in a folder; {} when it is absent."""
    return {entry.base_name: entry.size for entry in _entries(path) if entry.type == pafs.FileType.File}


def _entries(path: str) -> list[pafs.FileInfo]:
    filesystem, inner = open_fs(path)
    with path_errors(path):
        return list(filesystem.get_file_info(pafs.FileSelector(inner, allow_not_found=True)))


def remove(path: str) -> None:
    """Delete a file, or a folder with its content; does nothing when it is absent."""
    filesystem, inner = open_fs(path)
    kind = info(path).type
    with path_errors(path):
        if kind == pafs.FileType.Directory:
            filesystem.delete_dir(inner)
        elif kind != pafs.FileType.NotFound:
            filesystem.delete_file(inner)


@contextmanager
def open_input(path: str) -> Iterator[pa.NativeFile]:
    """Open a file for reading, with ``seek``; compressed content is not decompressed."""
    filesystem, inner = open_fs(path)
    with path_errors(path), filesystem.open_input_file(inner) as stream:
        yield stream


@contextmanager
def open_output(path: str) -> Iterator[pa.NativeFile]:
    """Open a file for writing that appears whole when the block ends, and not at all when it raises.

    Content for an object store is written to a local temporary file first: closing the store's own streams after an error
    would publish the incomplete file.
    """
    with _renamed_output(path) if renames_atomically(path) else _uploaded_output(path) as stream:
        yield stream


@contextmanager
def _renamed_output(path: str) -> Iterator[pa.NativeFile]:
    filesystem, inner = open_fs(path)
    folder, name = posixpath.split(inner)
    aside = posixpath.join(folder, f".{name}.{uuid.uuid4().hex}")
    with path_errors(path):
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
        with path_errors(folder), pa.OSFile(f"{folder}/file", "wb") as stream:
            yield stream
        with path_errors(path), pa.OSFile(f"{folder}/file") as source, filesystem.open_output_stream(inner) as target:
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
    """Replace a file atomically: readers see the old content or the new one."""
    with open_output(path) as stream:
        stream.write(data)


def read_json(path: str) -> Any:
    """A JSON file. Raises DataError when it is not JSON."""
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:
        raise DataError(f"{path} is not JSON ({error}); remove it if an interrupted run left it incomplete") from None


def write_json(path: str, value: Any) -> None:
    """Write JSON with sorted keys, so that equal values are equal files."""
    write_bytes(path, json.dumps(value, sort_keys=True, indent=1, ensure_ascii=False).encode())


def expand(patterns: Iterable[str]) -> list[str]:
    """The files that match paths and globs (``*``, ``?``, ``[...]``, ``**`` for any depth), each once, sorted.

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
        raise DataError(f"{pattern} does not exist; correct the path")
    base = "/".join(parts[:magic]) or ("/" if pattern.startswith("/") else "")
    matches = [path for path, kind in _walk(base, parts[magic:]) if kind == pafs.FileType.File]
    if not matches:
        raise DataError(f"{pattern} matches no file; correct the pattern")
    return matches


def _is_magic(part: str) -> bool:
    return any(character in part for character in "*?[")


def _walk(base: str, parts: list[str]) -> Iterator[tuple[str, pafs.FileType]]:
    """Paths below ``base`` whose components match ``parts`` in order; a leading dot is matched only by a literal dot."""
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
    """Copy a folder, ``manifest.json`` last, so that a folder with a manifest is complete."""
    from_fs, from_inner = open_fs(source)
    with path_errors(source):
        entries = from_fs.get_file_info(pafs.FileSelector(from_inner, recursive=True))
    files = [entry.path for entry in entries if entry.type == pafs.FileType.File]
    for file in sorted(files, key=lambda file: (posixpath.basename(file) == "manifest.json", file)):
        relative = posixpath.relpath(file, from_inner)
        with open_input(join(source, relative)) as reader, open_output(join(target, relative)) as writer:
            while block := reader.read(1 << 20):
                writer.write(block)


@contextmanager
def local_dir(path: str) -> Iterator[str]:
    """A local folder with the content of ``path``: itself if local, else a temporary copy."""
    if not is_dir(path):
        raise DataError(f"{path} is not a folder")
    if is_local(path):
        yield path.removeprefix("file://")
        return
    with tempfile.TemporaryDirectory(prefix="raykd-") as folder:
        upload_dir(path, folder)
        yield folder


def rename_dir(source: str, target: str) -> None:
    """Rename a folder: atomically where the file system can, else by copying (``manifest.json`` last) and deleting."""
    filesystem, inner = open_fs(source)
    if not renames_atomically(source):
        upload_dir(source, target)
        remove(source)
        return
    moved = open_fs(target)[1]
    with path_errors(target):
        if posixpath.dirname(moved):
            filesystem.create_dir(posixpath.dirname(moved), recursive=True)
        filesystem.move(inner, moved)
