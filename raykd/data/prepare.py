"""From source files to a prepared set: once for each (content, schema, split, tokenizer, length), kept in a cache.

Each chunk of a source file becomes one Parquet part file, in a task of a Ray Data job where Ray runs. The manifest is written
last; files of repeated tasks or of failed runs are ignored.
"""

import hashlib
import json
import logging
import uuid
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from typing import Any

from raykd.data import storage
from raykd.data.chunks import ChunkJob, ChunkResult, RejectedRow
from raykd.data.examples import RowParser
from raykd.data.headers import check_files
from raykd.data.overlap import TEXT_KEYS, text_keys
from raykd.data.parquet_files import GROUP_ROWS, MANIFEST
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.prompts import MASKED_WORD
from raykd.data.ray_map import run_job
from raykd.data.readers import CHUNK_BYTES, Chunk, reader_of
from raykd.data.readers.tsv import TsvReader
from raykd.data.schema import InputSchema
from raykd.data.sources import Sources, expand_data, find_sources
from raykd.data.tokenised_set import TokenisedSet
from raykd.data.tokenizer import PAIR_FORMAT, RowTokenizer, load_mask_token, load_row_tokenizer
from raykd.data.views import MASK
from raykd.errors import ConfigError, DataError

log = logging.getLogger(__name__)

Progress = Callable[[int, int], None]
"""Called with the number of finished chunks and of all chunks."""
REJECTED = "rejected.tsv"
RESERVED = ("shard", "row", "length", "input_ids", "token_type_ids", "label")
"""Columns of a prepared set; extra input columns need other names."""
_FORMAT = 1
"""Version in every key: increment it when the columns of a prepared set or the meaning of a row change."""
_IN_PROCESS_BYTES = 2 * CHUNK_BYTES
"""Preparing this much takes less time than starting a Ray Data job."""


class RejectedRowError(DataError):
    """A row that does not parse, where none may."""

    def __init__(self, row: RejectedRow, remedy: str) -> None:
        super().__init__(f"{row.place}: {row.reason}; {remedy}")
        self.row = row


def check_sources(spec: PrepareSpec) -> None:
    """Find errors in files without reading their rows: absent, damaged, of another format, without a column.

    Raises DataError, and ConfigError when settings do not fit the files.
    """
    schema, parser = _schema_and_parser(spec)
    check_files(expand_data(spec.files), schema, parser, spec.format, skip_header=spec.skip_header)


def prepare(spec: PrepareSpec, cache: str, *, progress: Progress | None = None) -> TokenisedSet:
    """The prepared set of ``spec``, from ``cache`` or built.

    Raises DataError with file and line when more than ``max_rejected_rows`` rows do not parse, of the kind RejectedRowError
    where none may, and when no row is left; ConfigError when columns and schema do not fit; ModelError without a tokenizer.
    """
    cache = storage.absolute(cache)
    schema, parser = _schema_and_parser(spec)
    sources = find_sources(spec.files, spec.skip_header, cache, files=spec.format)
    if spec.strict_rows:  # before a set in the cache is returned: a header is not part of its key
        check_files([source.path for source in sources.files], schema, parser, spec.format, skip_header=spec.skip_header)
    tokenizer = spec.prompts or load_row_tokenizer(spec.tokenizer, cache)
    mask_token = MASK if spec.prompts is None else MASKED_WORD
    if spec.prompts is None and spec.views is not None and spec.views.has_mask_tokens:
        mask_token = load_mask_token(spec.tokenizer)
    empty = _empty_set(spec, cache, sources, tokenizer, mask_token)
    made = _already_made(empty.path, spec)
    if made is not None:
        return made
    job = ChunkJob(
        folder=empty.path,
        owner=f"{uuid.uuid4().hex[:8]}-",
        parser=parser,
        keep=spec.keep,
        codec=spec.codec,
        extra_columns=tuple(schema.column(name) for name in spec.extra_columns),
        tokenizer=tokenizer,
        sequence_length=spec.sequence_length,
        files=spec.format,
        max_rejected_rows=spec.max_rejected_rows,
        excluded=frozenset(key for prepared in spec.exclude for key in text_keys(prepared).tolist()),
        chosen=None if spec.selection is None else spec.selection.rows_by_shard(),
        others=spec.selection is not None and spec.selection.others,
        views=spec.views,
        num_shards=len(sources.files),
        mask_token=mask_token,
        single_row_shards=frozenset(shard for shard, source in enumerate(sources.files) if source.rows == 1),
    )
    return _make(spec, job, empty, sources.chunks, progress)


def _schema_and_parser(spec: PrepareSpec) -> tuple[InputSchema, RowParser]:
    schema = InputSchema.of(spec.input_schema, spec.columns, strict=spec.strict_rows)
    if (spec.label is None) != (spec.codec is None):
        raise ConfigError(f"label column {spec.label!r} with codec {spec.codec!r}: give both, or neither for unlabelled rows")
    for name in spec.extra_columns:
        if name in RESERVED:
            raise ConfigError(
                f"input column {name!r} cannot be kept: prepared sets have a column of that name; rename it in input_schema"
            )
    parser = RowParser(
        schema,
        first_sequence=spec.first_sequence,
        second_sequence=spec.second_sequence,
        label=spec.label,
        codec=spec.codec,
        extra_columns=spec.extra_columns,
    )
    return schema, parser


def _empty_set(spec: PrepareSpec, cache: str, sources: Sources, tokenizer: RowTokenizer, mask_token: str) -> TokenisedSet:
    """The set without rows: its folder, and the fingerprints of the inputs that determine its content."""
    names = spec.codec.names if spec.codec else None
    readers = [reader_of(source.path, spec.format) for source in sources.files]
    rows_fingerprint = _hash(
        {
            "format": _FORMAT,
            "group_rows": GROUP_ROWS,
            "chunks": [(chunk.shard, chunk.rows, chunk.digest) for chunk in sources.chunks],
            "columns": (spec.input_schema, spec.first_sequence, spec.second_sequence, spec.label, names),
            "keep": None if spec.keep is None else asdict(spec.keep),
            **(spec.codec.identity if spec.codec else {}),
            **({} if spec.selection is None else {"selection": (spec.selection.key, spec.selection.others)}),
            **({} if spec.views is None else {"views": spec.views.identity}),
            **({} if all(isinstance(reader, TsvReader) for reader in readers) else {"readers": [repr(one) for one in readers]}),
            **({"exclude": [TokenisedSet.open(one).rows_fingerprint for one in spec.exclude]} if spec.exclude else {}),
        }
    )
    pairs = () if spec.second_sequence is None else (PAIR_FORMAT,)
    views = () if spec.views is None else (mask_token,)
    fingerprint = _hash((rows_fingerprint, spec.extra_columns, spec.sequence_length, tokenizer.fingerprint, *pairs, *views))
    return TokenisedSet(
        # the plan of batches follows from the fingerprint, so the checks of a row are part of the folder's name only
        path=storage.join(cache, "prepared", f"{fingerprint}-checked" if spec.strict_rows else fingerprint),
        fingerprint=fingerprint,
        rows_fingerprint=rows_fingerprint,
        labels=names,
        pad_token_id=tokenizer.pad_token_id,
        padding_side=tokenizer.padding_side,
        has_token_types=tokenizer.has_token_types,
        max_length=0,
        sources=sources.files * (1 if spec.views is None else spec.views.views),
        read=0,
        rejected=0,
        filtered=0,
        parts=(),
    )


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value, sort_keys=True).encode(), digest_size=16).hexdigest()


def _already_made(folder: str, spec: PrepareSpec) -> TokenisedSet | None:
    """The set in the cache; None when a file is missing or it has more than ``max_rejected_rows`` rejected rows."""
    if not storage.exists(storage.join(folder, MANIFEST)):
        return None
    prepared, sizes = TokenisedSet.open(folder), storage.file_sizes(folder)
    if TEXT_KEYS not in sizes:
        return None
    whole = all(sizes.get(part.file) == part.size for part in prepared.parts)
    return prepared if whole and prepared.rejected <= spec.max_rejected_rows else None


def _make(
    spec: PrepareSpec, job: ChunkJob, empty: TokenisedSet, chunks: Sequence[Chunk], progress: Progress | None
) -> TokenisedSet:
    """Run the job, write the manifest, and delete the files of this run that it does not list."""
    counted: set[str] = set()
    try:
        prepared = _fill(empty, _run(job, chunks, progress, spec.remedy), spec)
        made = _already_made(empty.path, spec)
        if made is not None:  # another run was faster, and its parts may be in use
            return made
        prepared.save()
        counted = {part.file for part in prepared.parts}
    finally:
        for name in storage.file_sizes(empty.path):
            if job.owner in name and name not in counted:
                storage.remove(storage.join(empty.path, name))
    return prepared


def _run(job: ChunkJob, chunks: Sequence[Chunk], progress: Progress | None, remedy: str) -> list[ChunkResult]:
    """The results of all chunks, in order. Raises DataError once more than ``max_rejected_rows`` rows are rejected."""
    size = sum(chunk.stop - chunk.start for chunk in chunks) * (1 if job.views is None else job.views.views)
    in_process = size <= _IN_PROCESS_BYTES and (job.views is None or job.views.filler is None)
    results: dict[int, ChunkResult] = {}
    rejected = 0
    for position, result in run_job(job, list(enumerate(chunks)), in_process=in_process, to="prepare rows"):
        results[position] = result
        rejected += len(result.rejected)
        if rejected > job.max_rejected_rows:
            raise _too_many(_rejected(results[done] for done in sorted(results)), job.max_rejected_rows, remedy)
        if progress is not None:
            progress(len(results), len(chunks))
    return [results[position] for position in range(len(chunks))]


def _rejected(results: Iterable[ChunkResult]) -> list[RejectedRow]:
    return [row for result in results for row in result.rejected]


def _too_many(rejected: Sequence[RejectedRow], allowed: int, remedy: str) -> DataError:
    if not allowed:
        return RejectedRowError(rejected[0], remedy)
    first = f"{rejected[0].place}: {rejected[0].reason}"
    return DataError(f"more than data.max_rejected_rows = {allowed} rows do not parse; the first of them: {first}")


def _fill(empty: TokenisedSet, results: Sequence[ChunkResult], spec: PrepareSpec) -> TokenisedSet:
    """The set with the results of all chunks. Writes the file of rejected rows, but not yet the manifest."""
    rejected = _rejected(results)
    prepared = replace(
        empty,
        max_length=max((result.max_length for result in results), default=0),
        read=sum(result.read for result in results),
        rejected=len(rejected),
        filtered=sum(result.filtered for result in results),
        excluded=sum(result.excluded for result in results),
        parts=tuple(result.part for result in results if result.part.rows),
    )
    counts = f"{prepared.read} rows read, {prepared.rejected} rejected, {prepared.filtered} in other splits"
    counts += f", {prepared.excluded} of them with a text of the validation or test set" * bool(prepared.excluded)
    if not prepared.num_rows:
        raise DataError(f"{', '.join(spec.files)}: no row is left ({counts}); give files with rows, or another fraction")
    storage.write_bytes(storage.join(prepared.path, TEXT_KEYS), b"".join(result.text_keys for result in results))
    if rejected:
        storage.write_bytes(storage.join(prepared.path, REJECTED), "".join(map(_rejected_line, rejected)).encode())
    log.info("%s: %d rows prepared (%s)", prepared.path, prepared.num_rows, counts)
    return prepared


def _rejected_line(row: RejectedRow) -> str:
    """File, line, reason and row, separated by tabs; bytes of the row other than printable ASCII are escaped as in Python."""
    data = row.data.decode("latin-1").encode("unicode_escape").decode()
    return "\t".join((row.file, str(row.line), row.reason, data)) + "\n"
