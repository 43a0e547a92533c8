"""Joins of tokenised sets: their rows behind each other as one set, without another copy of the tokens.

A joined table is a manifest that lists the part files of its members. The shards of a later member are numbered behind those of
the members before it, so that (shard, row) stays unique; side tables of the members are joined in the same way.
"""

import hashlib
import json
import posixpath
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

from raykd.data import storage
from raykd.data.parquet_files import MANIFEST, PartInfo
from raykd.data.side_tables import SideTable, commit
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError


def join_sets(members: Sequence[TokenisedSet], *, labelled: int) -> TokenisedSet:
    """The rows of ``members``, the first ``labelled`` of which have labels, as one set; a single member is returned as it is.

    The members lie in one folder, and the set is written beside them. Raises DataError when they were made with different
    tokenizers.
    """
    first = members[0]
    if len(members) == 1:
        return first
    for other in members[1:]:
        if (other.pad_token_id, other.has_token_types) != (first.pad_token_id, first.has_token_types):
            raise DataError(f"{other.path} was made with another tokenizer than {first.path}; prepare both with one")
    fingerprint = _hash([[one.fingerprint for one in members], labelled])
    offsets = _shard_offsets(members)
    joined = replace(
        first,
        path=storage.join(posixpath.dirname(first.path), fingerprint),
        fingerprint=fingerprint,
        rows_fingerprint=_hash([[one.rows_fingerprint for one in members], labelled]),
        max_length=max(one.max_length for one in members),
        sources=tuple(source for one in members for source in one.sources),
        read=sum(one.read for one in members),
        rejected=sum(one.rejected for one in members),
        filtered=sum(one.filtered for one in members),
        excluded=sum(one.excluded for one in members),
        parts=_joined_parts([(one.path, one.parts) for one in members], offsets),
        labelled_groups=sum(len(one.group_rows) for one in members[:labelled]) if labelled else None,
    )
    if not _is_saved(joined):
        joined.save()
    return joined


def join_sides(sides: Sequence[SideTable], members: Sequence[TokenisedSet], joined: TokenisedSet, out: str) -> SideTable:
    """The side tables of the members as one of the joined set, at ``out`` beside them; a single table is returned as it is.

    Raises DataError when a table was made for other rows.
    """
    for side, member in zip(sides, members, strict=True):
        side.check_fits(member)
    if len(sides) == 1:
        return sides[0]
    parts = _joined_parts([(side.path, side.parts) for side in sides], _shard_offsets(members))
    firsts = [sum(len(part.groups) for part in parts[:index]) for index in range(len(parts))]
    placed = [replace(part, position=first) for part, first in zip(parts, firsts, strict=True)]
    return commit(out, joined, placed, sides[0].columns, {"kind": "joined", "of": [side.path for side in sides]})


def _shard_offsets(members: Sequence[TokenisedSet]) -> list[int]:
    return [sum(len(one.sources) for one in members[:index]) for index in range(len(members))]


def _joined_parts(tables: Sequence[tuple[str, Sequence[PartInfo]]], offsets: Sequence[int]) -> tuple[PartInfo, ...]:
    """The parts of several tables under their names seen from a sibling folder, in order."""
    parts = [
        replace(part, file=f"../{posixpath.basename(path)}/{part.file}", shard_offset=offset)
        for (path, own), offset in zip(tables, offsets, strict=True)
        for part in sorted(own, key=lambda part: part.position)
        if part.groups
    ]
    return tuple(replace(part, position=position) for position, part in enumerate(parts))


def _is_saved(joined: TokenisedSet) -> bool:
    """True when the manifest lists the same part files: members that were prepared again have others."""
    saved = storage.exists(storage.join(joined.path, MANIFEST))
    return saved and asdict(TokenisedSet.open(joined.path)) == asdict(joined)


def _hash(value: Any) -> str:
    return hashlib.blake2b(json.dumps(value).encode(), digest_size=16).hexdigest()
