"""Reader of offline runs of Weights & Biases.

A ``.wandb`` file is a LevelDB log (github.com/google/leveldb, doc/log_format.md) of protobuf records, after 7 bytes that name
the format: blocks of 32 KiB with records of checksum, length, type and data; a record that crosses blocks is split.
"""

import json
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from raykd.errors import DataError

IDENT = struct.pack("<4sHB", b":W&B", 0xBEE1, 0)
BLOCK = 32 * 1024
HEADER = struct.Struct("<IHB")  # CRC-32 of type and data, length, type
FULL, FIRST, MIDDLE, LAST = 1, 2, 3, 4


@dataclass(frozen=True)
class OfflineRun:
    """Tracked values of one run."""

    run_id: str
    project: str
    name: str
    group: str
    config: dict[str, Any]
    history: tuple[dict[str, Any], ...]
    """One row per step, in order of ``_step``."""
    summary: dict[str, Any]


def read_offline_run(path: str | Path) -> OfflineRun:
    """A run from its ``.wandb`` file, or from a folder with all files of one run; a restart creates another file.

    Of values logged twice for a step the later file counts. Raises DataError: no file, several runs, a broken record.
    """
    files = [Path(path)] if Path(path).is_file() else list(Path(path).rglob("*.wandb"))
    if not files:
        raise DataError(f"{path} holds no .wandb file; give the folder that a run was tracked in")
    runs = sorted((run for run in map(_read, files) if run is not None), key=lambda run: run[0])
    if not runs:
        raise DataError(f"{path} holds no run: it ended before anything was written")
    identities = {run.run_id for _, run in runs}
    if len(identities) > 1:
        raise DataError(f"{path} holds the runs {', '.join(sorted(identities))}; give the folder of one of them")
    last = runs[-1][1]
    rows: dict[int, dict[str, Any]] = {}
    for _, run in runs:
        for row in run.history:
            rows.setdefault(row["_step"], {}).update(row)
    summary = {name: value for _, run in runs for name, value in run.summary.items()}
    return OfflineRun(
        run_id=last.run_id,
        project=last.project,
        name=last.name,
        group=last.group,
        config=last.config,
        history=tuple(rows[step] for step in sorted(rows)),
        summary=summary,
    )


def read_offline_table(path: str | Path, name: str) -> list[dict[str, Any]]:
    """The rows of a table of the run in the folder ``path``, by column. Raises DataError when the run has no such table."""
    run = read_offline_run(path)
    if f"{name}.path" not in run.summary:
        raise DataError(f"{path}: the run {run.run_id} has no table {name!r}")
    content = json.loads(next(Path(path).rglob(run.summary[f"{name}.path"])).read_text(encoding="utf-8"))
    return [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]


def is_finished(folder: str | Path) -> bool:
    """True when the file of the run in ``folder`` ends with its final record."""
    return any(record.WhichOneof("record_type") == "exit" for file in Path(folder).glob("*.wandb") for record in _records(file))


def _read(path: Path) -> tuple[float, OfflineRun] | None:
    """Start time and content of one file; None for a file without records."""
    start, about, config, history, summary = 0.0, None, {}, [], {}
    for record in _records(path):
        kind = record.WhichOneof("record_type")
        if kind == "run":
            about = record.run
            start = about.start_time.ToNanoseconds() / 1e9
            config.update(_items(about.config.update))
        elif kind == "config":
            config.update(_items(record.config.update))
        elif kind == "history":
            history.append(_items(record.history.item))
        elif kind == "summary":
            summary.update(_items(record.summary.update))
    if about is None:
        return None
    config.pop("_wandb", None)
    return start, OfflineRun(about.run_id, about.project, about.display_name, about.run_group, config, tuple(history), summary)


def _items(items: Sequence[Any]) -> dict[str, Any]:
    return {".".join(item.nested_key) or item.key: json.loads(item.value_json) for item in items}


def _records(path: Path) -> Iterator[Any]:
    from wandb.proto import wandb_internal_pb2

    for data in _pieces(path):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        yield record


def _pieces(path: Path) -> Iterator[bytes]:
    """The data of every complete record; a truncated record, left by a killed process, is the end."""
    content = path.read_bytes()
    if content[: len(IDENT)] != IDENT[: len(content)]:
        raise DataError(f"{path} is not a .wandb file")
    position, pieces = len(IDENT), b""
    while position + HEADER.size <= len(content):
        left = BLOCK - position % BLOCK
        if left < HEADER.size:
            position += left  # the rest of a block that is shorter than a header is filled with zeros
            continue
        checksum, length, kind = HEADER.unpack_from(content, position)
        data = content[position + HEADER.size : position + HEADER.size + length]
        if len(data) < length:
            return
        if zlib.crc32(data, zlib.crc32(bytes([kind]))) != checksum or kind not in (FULL, FIRST, MIDDLE, LAST):
            raise DataError(f"{path} is broken at byte {position}: a record does not have its checksum")
        position += HEADER.size + length
        pieces = data if kind in (FULL, FIRST) else pieces + data
        if kind in (FULL, LAST):
            yield pieces
