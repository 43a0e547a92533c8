"""One file per domain from rows with a domain column.

With one file a domain, the set of all domains and that of one share chunks and row groups: side tables made once for all rows
(weights, the meta-teacher's logits) serve every domain's students by picking row groups
(:func:`raykd.data.side_tables.restrict`).
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from raykd.data import storage
from raykd.data.examples import RowParser
from raykd.data.headers import check_files
from raykd.data.readers import read_chunk, reader_of, scan
from raykd.data.schema import InputSchema
from raykd.errors import ConfigError, DataError


def split_by_domain(
    patterns: Sequence[str],
    *,
    schema: InputSchema,
    parser: RowParser,
    domain: str,
    domains: Sequence[str],
    skip_header: bool,
    folder: str,
) -> dict[str, str]:
    """Copy every line of the files to ``folder/<domain>.tsv``, unchanged; domain to file, in the order of ``domains``.

    Raises DataError with file and line for a row that ``parser`` refuses and a domain that is not in the list, and for a
    domain without rows.
    """
    index = schema.position(domain)
    check_files(storage.expand(patterns), schema, parser, skip_header=skip_header)
    paths = {name: storage.join(folder, f"{name}.tsv") for name in domains}
    counts = dict.fromkeys(domains, 0)
    with ExitStack() as stack:
        streams = {name: stack.enter_context(storage.open_output(path)) for name, path in paths.items()}
        for where, data in _rows(patterns, skip_header, parser):
            name = data.split(b"\t")[index].decode()
            if name not in streams:
                raise DataError(
                    f"{where}: domain {name!r} is not one of {', '.join(domains)}; list it in domains, or drop the row"
                )
            streams[name].write(data + b"\n")
            counts[name] += 1
    for name, count in counts.items():
        if not count:
            raise DataError(f"domain {name!r} has no rows in {', '.join(patterns)}; remove it from domains, or give it rows")
    return paths


def _rows(patterns: Sequence[str], skip_header: bool, parser: RowParser) -> Iterator[tuple[str, bytes]]:
    """``file:line`` and bytes of every row that is not blank."""
    for chunk in scan(storage.expand(patterns), skip_header):
        reader = reader_of(chunk.path)
        for row in reader.read(chunk, parser.names):
            where = f"{chunk.path}:{row.line}"
            if row.data:
                try:
                    parser.parse(row.data, reader)
                except DataError as error:
                    raise DataError(f"{where}: {error}") from None
                yield where, row.data


def check_classes(path: str, *, schema: InputSchema, label: str, labels: Sequence[str], domain: str) -> None:
    """Raise DataError when the rows of a domain's file lack some class; reads until every class was seen."""
    index, counts = schema.position(label), dict.fromkeys(labels, 0)
    for chunk in scan([path], skip_header=False):
        for row in read_chunk(chunk):
            if row.data:
                counts[row.data.split(b"\t")[index].decode()] += 1
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
