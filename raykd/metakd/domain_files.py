"""One file per domain from rows with a domain column.

With one file a domain, the set of all domains and that of one share chunks and row groups: side tables made once for all rows
(weights, the meta-teacher's logits) serve every domain's students by picking row groups
(:func:`raykd.data.side_tables.restrict`).
"""

import itertools
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property

from raykd.data import storage
from raykd.data.cell_values import known_text
from raykd.data.examples import Example, RowParser
from raykd.data.headers import check_files
from raykd.data.label_codec import LabelCodec
from raykd.data.readers import TSV, FileFormat, reader_of, scan
from raykd.data.readers.tsv import TsvReader
from raykd.data.schema import InputSchema
from raykd.data.sources import expand_data
from raykd.errors import ConfigError, DataError
from raykd.task_kinds import SINGLE_LABEL


@dataclass(frozen=True)
class DomainColumns:
    """Columns of files whose rows have a text, a label and a domain."""

    input_schema: str | None
    """Columns by position; None finds them by name."""
    first_sequence: str
    second_sequence: str | None
    label: str
    domain: str

    @cached_property
    def schema(self) -> InputSchema:
        """The columns in the order of the cells."""
        names = (self.first_sequence, self.second_sequence, self.label, self.domain)
        return InputSchema.of(self.input_schema, names)

    def parser(self, labels: Sequence[str]) -> RowParser:
        """Parser of the rows; the domain is the one extra value. Raises ConfigError for columns that do not fit."""
        return RowParser(
            self.schema,
            first_sequence=self.first_sequence,
            second_sequence=self.second_sequence,
            label=self.label,
            codec=_codec(labels),
            extra_columns=(self.domain,),
        )

    def of_domain_files(self, patterns: Sequence[str], files: FileFormat) -> "DomainColumns":
        """Columns of the files that :func:`split_by_domain` writes: those of TSV rows, which are copied, or JSON keys."""
        readers = [reader_of(path, files) for path in expand_data(patterns)]
        if all(type(reader) is TsvReader for reader in readers):
            return self
        return DomainColumns(None, "text", None if self.second_sequence is None else "second_text", "label", "domain")

    @property
    def file_format(self) -> FileFormat:
        """Format of the files that :func:`split_by_domain` writes with these columns."""
        return TSV if self.input_schema is not None else FileFormat("jsonl", named=True)

    @property
    def suffix(self) -> str:
        """End of the names of those files."""
        return ".tsv" if self.input_schema is not None else ".jsonl"


def split_by_domain(
    patterns: Sequence[str],
    columns: DomainColumns,
    paths: Mapping[str, str],
    *,
    written: DomainColumns,
    files: FileFormat = TSV,
    skip_header: bool = False,
    labels: Sequence[str],
) -> dict[str, int]:
    """Write the rows of each domain to its file in ``paths``, in their order, with the columns ``written``; their numbers.

    Rows keep their bytes where ``written`` are columns by position, of TSV files. Raises DataError with file and line for a row
    that does not parse and a domain that is not in ``paths``, and for a domain without rows.
    """
    parser = columns.parser(labels)
    check_files(expand_data(patterns), columns.schema, parser, files, skip_header=skip_header)
    counts, copied = dict.fromkeys(paths, 0), written.input_schema is not None
    with ExitStack() as stack:
        streams = {name: stack.enter_context(storage.open_output(path)) for name, path in paths.items()}
        for where, data, example in _rows(patterns, parser, files, skip_header):
            name = _domain_of(example, paths)
            if name not in streams:
                raise DataError(
                    f"{where}: domain {name!r} is not one of {', '.join(paths)}; list it in domains, or drop the row"
                )
            line = data if copied else _json_line(example, name, labels, written)
            streams[name].write(line + b"\n")
            counts[name] += 1
    for name, count in counts.items():
        if not count:
            raise DataError(f"domain {name!r} has no rows in {', '.join(patterns)}; remove it from domains, or give it rows")
    return counts


def place_in_source(
    row: int,
    domain: str,
    patterns: Sequence[str],
    columns: DomainColumns,
    *,
    files: FileFormat,
    skip_header: bool,
    labels: Sequence[str],
) -> str:
    """Place of a row in the files that a domain's file was made of, by its number in that file, from 0."""
    rows = _rows(patterns, columns.parser(labels), files, skip_header)
    own = (where for where, _, example in rows if _domain_of(example, (domain,)) == domain)
    return next(itertools.islice(own, row, None))


def _rows(
    patterns: Sequence[str], parser: RowParser, files: FileFormat, skip_header: bool
) -> Iterator[tuple[str, bytes, Example]]:
    """Place, content and values of every row that is not blank."""
    for chunk in scan(expand_data(patterns), skip_header, files=files):
        reader = reader_of(chunk.path, files)
        for row in reader.read(chunk, parser.names):
            if row.data:
                where = reader.place(chunk.path, row)
                try:
                    yield where, row.data, parser.parse(row.data, reader)
                except DataError as error:
                    raise DataError(f"{where}: {error}") from None


def _domain_of(example: Example, domains: Collection[str]) -> str:
    return known_text(str(example.extras[0]), domains)


def _json_line(example: Example, domain: str, labels: Sequence[str], columns: DomainColumns) -> bytes:
    texts = (example.text,) if isinstance(example.text, str) else example.text
    names = (columns.first_sequence, columns.second_sequence)
    row = dict(zip(names, texts, strict=False)) | {columns.label: labels[example.label], columns.domain: domain}
    return json.dumps(row, ensure_ascii=False).encode()


def _codec(labels: Sequence[str]) -> LabelCodec:
    return SINGLE_LABEL.label_codec(tuple(labels))


def check_classes(path: str, columns: DomainColumns, *, labels: Sequence[str], domain: str) -> None:
    """Raise DataError when the rows of a domain's file lack some class; reads until every class was seen.

    A row that does not parse, as of a label that is not one of ``labels``, is named with file and line.
    """
    counts = dict.fromkeys(labels, 0)
    for _, _, example in _rows([path], columns.parser(labels), columns.file_format, skip_header=False):
        counts[labels[example.label]] += 1
        if all(counts.values()):
            return
    raise DataError(f"domain {domain!r} lacks a class: its training rows are {counts}; every class needs some")


def check_domain_names(domains: Sequence[str]) -> None:
    """Raises ConfigError for fewer than two domains, one given twice, or a name that cannot be a file's."""
    if len(domains) < 2 or len(set(domains)) != len(domains):
        raise ConfigError(f"domains = {list(domains)}: give at least two, each once")
    for name in domains:
        if not name or "/" in name or name.startswith("."):
            raise ConfigError(f"domains = {list(domains)}: {name!r} cannot be the name of a file")
