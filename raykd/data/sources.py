"""Source files of a data set and their chunks; row counts are cached until a file's size or modification time changes."""

import hashlib
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from raykd.data import storage
from raykd.data.ray_map import run_job
from raykd.data.readers import CHUNK_BYTES, TSV, Chunk, FileFormat, scan
from raykd.data.tokenised_set import SourceFile
from raykd.errors import DataError

_IN_PROCESS_BYTES = 256 << 20
"""Bytes in which counting newlines takes less time than starting a Ray Data job."""
_COUNTS = 3
"""Version of counts and digests: increment it when what is a row or part of a digest changes, since the cache holds them."""
_SETTLED_NS = 2 * 10**9
"""Age in nanoseconds below which a file may change again without a new time stamp, so its count is not cached."""


@dataclass(frozen=True)
class Sources:
    """Files in sorted order, and the chunks of all of them in that order."""

    files: tuple[SourceFile, ...]
    chunks: tuple[Chunk, ...]


def expand_data(patterns: Sequence[str]) -> list[str]:
    """The data files that paths and globs name, each once, sorted; a folder of Hugging Face datasets has those it lists.

    Raises DataError for a pattern without a file, a missing file, another folder.
    """
    return sorted({storage.absolute(path) for pattern in patterns for path in _expand(pattern)})


def _expand(pattern: str) -> list[str]:
    if not storage.is_dir(pattern):
        return storage.expand([pattern])
    if storage.exists(listed := storage.join(pattern, "dataset_dict.json")):
        names = [storage.join(pattern, name) for name in _read_names(listed, lambda content: content["splits"])]
        raise DataError(f"{pattern} holds several splits; name one of {', '.join(names)}")
    if not storage.exists(listed := storage.join(pattern, "state.json")):
        return storage.expand([pattern])  # raises: another folder
    names = _read_names(listed, lambda content: [file["filename"] for file in content["_data_files"]])
    return storage.expand([storage.join(pattern, name) for name in names])


def _read_names(path: str, names_of: Callable[[Any], list[Any]]) -> list[str]:
    """Names that a file of a saved folder of datasets lists. Raises DataError for another content, and for none."""
    content = storage.read_json(path)
    try:
        names = names_of(content)
    except (KeyError, TypeError):
        names = []
    if not names or not all(isinstance(name, str) for name in names):
        raise DataError(f"{path} does not list files as datasets.save_to_disk writes them; save the folder again")
    return names


def find_sources(patterns: Sequence[str], skip_header: bool, cache: str, *, files: FileFormat = TSV) -> Sources:
    """Expand paths and globs and count their rows, as a Ray Data job for large files.

    Raises DataError for a pattern without a file, a missing file, a damaged file.
    """
    paths = expand_data(patterns)
    infos = [storage.info(path) for path in paths]
    state = [(path, info.size, info.mtime_ns) for path, info in zip(paths, infos, strict=True)]
    key = json.dumps([_COUNTS, state, skip_header, CHUNK_BYTES, asdict(files)])
    kept = storage.join(cache, "scans", f"{_hash(key)}.json")
    if storage.exists(kept):
        return _sources(paths, [Chunk(**chunk) for chunk in storage.read_json(kept)])
    started_ns = time.time_ns()
    in_process = sum(info.size for info in infos) <= _IN_PROCESS_BYTES
    chunks = scan(paths, skip_header, files=files, map_fn=_ordered_map(in_process), chunk_bytes=CHUNK_BYTES)
    if all(started_ns - info.mtime_ns > _SETTLED_NS for info in infos):
        storage.write_json(kept, [asdict(chunk) for chunk in chunks])
    return _sources(paths, chunks)


def _ordered_map(in_process: bool) -> Callable[[Callable[[Any], Any], Sequence[Any]], list[Any]]:
    def ordered_map(function: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        results = dict(run_job(function, items, in_process=in_process, to="count rows"))
        return [results[position] for position in range(len(items))]

    return ordered_map


def _sources(paths: Sequence[str], chunks: Sequence[Chunk]) -> Sources:
    of_file: list[list[Chunk]] = [[] for _ in paths]
    for chunk in chunks:
        of_file[chunk.shard].append(chunk)
    files = [
        SourceFile(path, sum(chunk.rows for chunk in own), _hash("".join(chunk.digest for chunk in own)))
        for path, own in zip(paths, of_file, strict=True)
    ]
    return Sources(tuple(files), tuple(chunks))


def _hash(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
