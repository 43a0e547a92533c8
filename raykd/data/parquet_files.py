"""Parquet part files of a table, listed in a manifest. Files that the manifest does not list are ignored."""

import functools
import hashlib
import io
import posixpath
import threading
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from raykd.data import file_systems, storage
from raykd.errors import DataError

MANIFEST = "manifest.json"
GROUP_ROWS = 2048
"""Rows of a row group; the last one of a part may have fewer."""


@dataclass(frozen=True)
class PartInfo:
    """One Parquet part file of a table: consecutive row groups. A part without rows has no file and no manifest entry."""

    position: int
    """Sort key among the table's part files: the chunk's number for prepared sets, the first row group for side tables."""
    file: str
    """Name inside the table's folder, or ``../FOLDER/NAME`` for a file of the sibling folder FOLDER."""
    groups: tuple[int, ...]
    """Rows of each row group."""
    size: int
    """Bytes of the file."""
    digest: str
    """blake2b of the file's bytes."""
    shard_offset: int = 0
    """Number added to the file's column ``shard``, so that the rows of joined tables have unique names."""

    @property
    def rows(self) -> int:
        """Rows of the part."""
        return sum(self.groups)

    def to_json(self) -> dict[str, Any]:
        """The manifest's entry."""
        return asdict(self)

    @staticmethod
    def from_json(value: dict[str, Any]) -> "PartInfo":
        """The inverse of :meth:`to_json`."""
        return PartInfo(**{**value, "groups": tuple(value["groups"])})


class _HashingSink(io.RawIOBase):
    """Output stream that forwards bytes to another and hashes them."""

    def __init__(self, stream: pa.NativeFile) -> None:
        super().__init__()
        self._stream = stream
        self.hash = hashlib.blake2b(digest_size=16)
        self.size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.size

    def write(self, data: Any) -> int:
        self._stream.write(data)
        self.hash.update(data)
        self.size += len(data)
        return len(data)


def write_part(folder: str, position: int, tables: Iterable[pa.Table], *, owner: str = "") -> PartInfo:
    """Write each table as one row group of a new file; memory holds one table.

    The file's name is unique, so a task that runs twice leaves two files, of which the manifest lists one.
    ``owner`` is included in the name, so that the files of one run can be found.
    """
    groups = iter(tables)
    first = next(groups, None)
    if first is None:
        return PartInfo(position, "", (), 0, "")
    file = f"part-{position:06d}-{owner}{uuid.uuid4().hex[:12]}.parquet"
    rows = []
    with storage.open_output(storage.join(folder, file)) as stream:
        sink = _HashingSink(stream)
        with pq.ParquetWriter(sink, first.schema, compression="zstd", write_statistics=False) as writer:
            table = first
            while table is not None:
                writer.write_table(table, row_group_size=max(len(table), 1))
                rows.append(len(table))
                table = next(groups, None)
    return PartInfo(position, file, tuple(rows), sink.size, sink.hash.hexdigest())


class RowGroups:
    """Reads row groups of a table by their number, over all its part files."""

    def __init__(self, folder: str, parts: Sequence[PartInfo]) -> None:
        self.folder = folder
        self.parts = tuple(sorted((part for part in parts if part.groups), key=lambda part: part.position))
        self.group_rows: npt.NDArray[np.int64] = np.array([rows for part in self.parts for rows in part.groups], np.int64)
        self._first_groups = np.cumsum([0] + [len(part.groups) for part in self.parts])

    @property
    def column_names(self) -> tuple[str, ...]:
        """Columns of the table; () when it has no rows."""
        return tuple(self.read(0, None).column_names) if len(self.group_rows) else ()

    def read(self, group: int, columns: Sequence[str] | None) -> pa.Table:
        """One row group, all columns or those in ``columns``. Raises DataError when the part file is missing or damaged."""
        if not 0 <= group < len(self.group_rows):
            raise DataError(f"{self.folder} has row groups 0 to {len(self.group_rows) - 1}, but not {group}")
        index = int(np.searchsorted(self._first_groups, group, side="right")) - 1
        part = self.parts[index]
        path = _part_path(self.folder, part.file)
        try:
            file = _open_part(path, threading.get_ident())
            with file_systems.path_errors(path):
                table = file.read_row_group(
                    group - int(self._first_groups[index]), columns=None if columns is None else list(columns)
                )
                return _renumbered(table, part.shard_offset)
        except pa.ArrowInvalid as error:
            raise DataError(f"{path} is damaged ({error}); remove {self.folder} and run again") from None


def _part_path(folder: str, file: str) -> str:
    """Path of a part file. Object stores do not resolve ``..``."""
    sibling = file.removeprefix("../")
    return storage.join(folder if sibling == file else posixpath.dirname(folder), sibling)


def _renumbered(table: pa.Table, shard_offset: int) -> pa.Table:
    if not shard_offset or "shard" not in table.column_names:
        return table
    shards: Any = table["shard"].to_numpy() + np.int32(shard_offset)
    at = table.column_names.index("shard")
    return table.set_column(at, table.schema.field(at), pa.array(shards))


@functools.lru_cache(maxsize=64)
def _open_part(path: str, _thread: int) -> pq.ParquetFile:
    """Open a part file. Part files never change, so an open one stays valid; readers are not thread-safe, hence ``_thread``."""
    filesystem, inner = file_systems.open_fs(path)
    with file_systems.path_errors(path):
        return pq.ParquetFile(filesystem.open_input_file(inner))


def read_manifest(folder: str, kind: str) -> dict[str, Any]:
    """The manifest of a table folder. Raises DataError when it is missing or of another kind."""
    path = storage.join(folder, MANIFEST)
    if not storage.exists(path):
        raise DataError(f"{folder} holds no {kind}: {MANIFEST} is missing; the folder is absent, or its run did not finish")
    manifest = storage.read_json(path)
    if not isinstance(manifest, dict) or manifest.get("kind") != kind:
        raise DataError(f"{path} does not describe a {kind}; give the folder of one")
    del manifest["kind"]
    return manifest
