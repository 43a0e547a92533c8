"""Rows given as Python objects, written once as Parquet files that the job then reads like any others."""

import difflib
import hashlib
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from raykd.config import ExperimentConfig, MetaKDConfig, TuneConfig
from raykd.data import storage
from raykd.errors import ConfigError

SPLITS = ("train", "validation", "test", "unlabelled")
"""Keys of ``data``."""
_FILE_SETTINGS = ("format", "input_schema", "skip_header")
"""Settings of the job's files that Parquet files do not have."""

BuiltConfig = TypeVar("BuiltConfig", ExperimentConfig | MetaKDConfig, TuneConfig)


def with_data(content: Any, data: Mapping[str, Any], build: Callable[[Mapping[str, Any]], BuiltConfig]) -> BuiltConfig:
    """Build the configuration whose files are those of ``data``, written into the cache of its storage folder.

    ``content`` is the content of the job. The name of a file is a hash of its rows, so that the same rows resume a run.
    Raises ConfigError, DataError before anything is written for errors of the job and of the columns' names and types.
    """
    _check_splits(data)
    given = dict(content) if isinstance(content, Mapping) else {}
    if given.get("kind") == "meta_kd":
        _check_meta_kd(given, data)
    section = _without_file_settings(given.get("data"), data)

    def build_with(files: Mapping[str, str]) -> BuiltConfig:
        return build({**given, "data": {**section, **{split: [file] for split, file in files.items()}}})

    config = build_with({split: f"{split}.parquet" for split in data})
    job = config.base if isinstance(config, TuneConfig) else config
    assert job.data is not None

    from raykd.api.arrow_rows import ArrowRows
    from raykd.run.task import cache_folder

    texts = [name for name in (job.data.first_sequence, job.data.second_sequence) if name is not None]
    others = [name for name in _other_columns(job) if name is not None]
    missing: dict[str, Any] = (
        {"allow_missing": job.data.max_rejected_rows > 0} if isinstance(job, ExperimentConfig) else {"remedy": "remove the row"}
    )
    opened = {
        split: ArrowRows(f"data[{split!r}]", one, texts, [] if split == "unlabelled" else others, **missing)
        for split, one in data.items()
    }
    return build_with({split: _written(rows, storage.join(cache_folder(job), "objects")) for split, rows in opened.items()})


def _other_columns(job: ExperimentConfig | MetaKDConfig) -> tuple[str | None, ...]:
    """Columns of labelled rows besides the texts."""
    if isinstance(job, ExperimentConfig):
        return job.data.label, job.logits.key
    return () if job.data is None else (job.data.label, job.data.domain)


def _check_splits(data: Mapping[str, Any]) -> None:
    if not isinstance(data, Mapping):
        raise ConfigError(f"data is of type {type(data).__name__}; give a mapping of {', '.join(SPLITS)} to rows")
    for split in data:
        if split not in SPLITS:
            near = difflib.get_close_matches(str(split), SPLITS, n=1, cutoff=0.3)
            raise ConfigError(
                f"data has the key {split!r}; keys are {', '.join(SPLITS)}" + (f"; did you mean {near[0]}?" * bool(near))
            )


def _check_meta_kd(job: Mapping[str, Any], data: Mapping[str, Any]) -> None:
    """Raise ConfigError for a Meta-KD job that takes no objects, and for rows that it does not read."""
    if job.get("reviews") is not None:
        raise ConfigError(
            f"data has objects for {', '.join(data)}, but the job reads raw reviews (reviews.folder); leave data out, or "
            "replace the job's reviews by a data section that names the columns first_sequence, label and domain"
        )
    if "unlabelled" in data:
        raise ConfigError(
            "data has the key 'unlabelled', but every row of a Meta-KD job has a label; give train, validation and test only"
        )


def _without_file_settings(section: Any, data: Mapping[str, Any]) -> dict[str, Any]:
    """The job's data section for Parquet files. Raises ConfigError when it has other files besides, with settings."""
    section = dict(section) if isinstance(section, Mapping) else {}
    files = [split for split in SPLITS if split not in data and isinstance(section.get(split), list | tuple) and section[split]]
    settings = [name for name in _FILE_SETTINGS if section.get(name)]
    if files and settings:
        raise ConfigError(
            f"the job's data.{settings[0]} describes the files of data.{files[0]}, and data has objects for "
            f"{', '.join(data)}; give {files[0]} as an object too, or leave data.{settings[0]} out and use files that name "
            "their columns"
        )
    return {name: value for name, value in section.items() if name not in _FILE_SETTINGS}


def _written(rows: Any, folder: str) -> str:
    """Path of the Parquet file of the rows; its name is a hash of its bytes, which depend on the rows alone."""
    with tempfile.TemporaryDirectory(prefix="raykd-rows-") as aside:
        file = Path(aside, "rows.parquet")
        rows.write(file)
        with file.open("rb") as stream:
            digest = hashlib.file_digest(stream, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
        target = storage.join(folder, f"{digest}.parquet")
        if not storage.exists(target):
            with file.open("rb") as source, storage.open_output(target) as out:
                while block := source.read(storage.UPLOAD_BYTES):
                    out.write(block)
    return target
