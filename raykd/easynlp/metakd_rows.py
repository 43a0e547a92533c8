"""Rows shaped like EasyNLP's ``train_with_weights.tsv`` as training input: filtered, in one form, with weights and domains."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from raykd.data import storage
from raykd.data.readers import read_chunk, scan
from raykd.data.schema import InputSchema
from raykd.data.side_tables import SideTable, commit, write_part
from raykd.data.tokenised_set import TokenisedSet
from raykd.easynlp.columns import check_file
from raykd.easynlp.metakd_settings import MetaSettings
from raykd.errors import DataError, shorten
from raykd.metakd.prototypes import DOMAIN_ID, WEIGHT

NO_TEXT = "None"
"""Missing text in EasyNLP's own files; its development files have an empty cell."""


_NAMED_DOMAINS = 20
"""Maximum number of domains in an error."""


@dataclass(frozen=True)
class MetaRows:
    """A file of such rows, the header left out."""

    path: str
    paired: bool
    """Some row has a second text; otherwise rows are single texts in training, validation and scoring."""


Check = Callable[[str, Mapping[str, str]], None]
"""Raise DataError for a row, given as ``file:line`` and cells, that cannot be used."""


def copy_rows(
    source: str,
    path: str,
    meta: MetaSettings,
    *,
    second: str | None,
    every_domain: bool = False,
    check: Check = lambda where, cells: None,  # noqa: ARG005 (nothing to check)
) -> MetaRows:
    """Copy the rows of the requested genre, or of all; a missing second text becomes an empty one.

    Raises DataError with file and line for a row whose domain is not one of ``meta.domains`` (where those are known) or that
    lacks columns, and when no row is left.
    """
    check_file(source, "--tables")
    names = InputSchema.parse(meta.schema).names
    domain, text_b = names.index(meta.domain_column), names.index(second) if second is not None else None
    wanted = None if every_domain else meta.genre
    paired, count, found = False, 0, set[str]()
    with storage.open_output(path) as stream:
        for where, _, cells in table_cells(source, len(names), ", ".join(names)):
            if meta.domains and cells[domain] not in meta.domains:
                raise DataError(
                    f"{where}: domain {shorten(cells[domain])} is not one of {', '.join(meta.domains)}; "
                    "name all domains in domain_label, or drop the row"
                )
            if wanted is not None and cells[domain] != wanted:
                if len(found) < _NAMED_DOMAINS:
                    found.add(shorten(cells[domain]))
                continue
            check(where, dict(zip(names, cells, strict=False)))
            if text_b is not None:
                cells[text_b] = "" if cells[text_b] == NO_TEXT else cells[text_b]
                paired |= bool(cells[text_b])
            stream.write("\t".join(cells).encode() + b"\n")
            count += 1
    if not count:
        wanted_text = f" of the domain {wanted}" if wanted else ""
        found_text = f"; it has rows of {', '.join(sorted(found))}" if found else ""
        raise DataError(f"{source} has no rows{wanted_text} under its header{found_text}")
    return MetaRows(path, paired)


def table_cells(path: str, least: int, needed: str) -> Iterator[tuple[str, int, list[str]]]:
    """``file:line``, number and cells of every row after the header, in one file or the files of a pattern.

    Raises DataError with file and line for what is not UTF-8, and for fewer than ``least`` cells: ``needed`` names them.
    """
    for expanded in storage.expand([path]):
        for chunk in scan([expanded], skip_header=True):
            for raw in read_chunk(chunk):
                where = f"{expanded}:{raw.line}"
                try:
                    cells = raw.data.decode().split("\t")
                except UnicodeDecodeError as error:
                    raise DataError(f"{where}: not UTF-8 text ({error.reason} at byte {error.start})") from None
                if len(cells) < least:
                    raise DataError(f"{where}: {len(cells)} columns where at least {least} are needed ({needed})")
                yield where, raw.row, cells


def sides_of(rows: MetaRows, prepared: TokenisedSet, meta: MetaSettings, *, out: str) -> SideTable:
    """Weight and domain id of every row of a prepared set of ``rows``; weight 1 when weights are not used."""
    schema = InputSchema.parse(meta.schema)
    domain, weight = schema.names.index(meta.domain_column), schema.names.index(meta.weight_column)

    def values() -> Iterator[tuple[int, float]]:
        for chunk in scan([rows.path], skip_header=False):
            for raw in read_chunk(chunk):
                cells = raw.data.decode().split("\t")
                yield meta.domains.index(cells[domain]), float(cells[weight]) if meta.weighted else 1.0

    def tables() -> Iterator[pa.Table]:
        source = values()
        for group, count in enumerate(prepared.group_rows):
            ids, weights = zip(*(next(source) for _ in range(int(count))), strict=True)
            names = prepared.read_group(group, ["shard", "row"])
            named = names.append_column(WEIGHT, pa.array(np.array(weights, np.float32)))
            yield named.append_column(DOMAIN_ID, pa.array(np.array(ids, np.int32)))

    storage.remove(out)
    return commit(out, prepared, [write_part(out, 0, tables())], [WEIGHT, DOMAIN_ID], {"domains": list(meta.domains)})


def check_training_row(meta: MetaSettings, label: str | None, labels: Sequence[str]) -> Check:
    """Check of a training row's label and weight, with the line of the user's file."""

    def check(where: str, cells: Mapping[str, str]) -> None:
        if label is not None and cells.get(label) not in labels:
            raise DataError(
                f"{where}: label {shorten(cells.get(label, ''))} is not one of {', '.join(map(repr, labels))}; correct the "
                "line, or name all labels in --label_enumerate_values"
            )
        if meta.weighted and not _is_number(cells[meta.weight_column]):
            text = shorten(cells[meta.weight_column])
            raise DataError(f"{where}: weight {text} is not a number; make the file with generate_meta_weights")

    return check


def _is_number(text: str) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except ValueError:
        return False
