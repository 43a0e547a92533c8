"""A prepared set: tokenised rows as Parquet parts, and the manifest that names them.

Columns: ``shard`` int32 and ``row`` int64 (the row's name), ``length`` int32 (tokens), ``input_ids`` list<int32>,
``token_type_ids`` list<uint8> where the tokenizer yields them, ``label`` unless unlabelled (an id, int32; with any number of
labels a row, 0 or 1 for each of them, fixed_size_list<int8>[C]), and the extra columns asked for. Rows stand in the order of
the source files.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raykd.data import storage
from raykd.data.parquet_files import MANIFEST, PartInfo, Parts, read_manifest

KIND = "prepared set"


@dataclass(frozen=True)
class SourceFile:
    """A file the rows came from."""

    path: str
    rows: int
    """Rows it has, the header not counted; rejected rows and those of the other part of a split are."""
    digest: str
    """Hash of its content."""


@dataclass(frozen=True)
class TokenisedSet:
    """Row groups of token rows. Made by :func:`raykd.data.prepare.prepare`; opened anywhere by its path."""

    path: str
    """Its folder."""
    fingerprint: str
    """Hash of everything the tokens depend on."""
    rows_fingerprint: str
    """Hash of source content, row validation and row groups: equal for the same rows under two tokenizers or two lengths."""
    labels: tuple[str, ...] | None
    """Label texts in the order of their ids; none when unlabelled."""
    pad_token_id: int
    """The tokenizer's padding token."""
    has_token_types: bool
    """True when there is a column ``token_type_ids``."""
    max_length: int
    """Longest row in tokens."""
    sources: tuple[SourceFile, ...]
    """Source files; a row's ``shard`` is the position here."""
    read: int
    """Source rows; equals ``num_rows + rejected + filtered``."""
    rejected: int
    """Rows that did not parse; they are in ``rejected.tsv``."""
    filtered: int
    """Rows that belong to another part of a split."""
    parts: tuple[PartInfo, ...]
    """The files, in row order."""
    padding_side: str = "right"
    """``right`` or ``left``: where the model's rows get padding in a batch."""

    @staticmethod
    def open(path: str) -> "TokenisedSet":
        """Raises DataError when the folder holds no complete set."""
        manifest = read_manifest(path, KIND)
        labels, sources, parts = manifest["labels"], manifest["sources"], manifest["parts"]
        lists = {
            "labels": None if labels is None else tuple(labels),
            "sources": tuple(SourceFile(**source) for source in sources),
            "parts": tuple(PartInfo.from_json(part) for part in parts),
        }
        known = {field.name for field in fields(TokenisedSet)}  # other versions have more
        return TokenisedSet(path=path, **{name: value for name, value in {**manifest, **lists}.items() if name in known})

    def save(self) -> None:
        """Write the manifest: from here on the set exists."""
        manifest: dict[str, Any] = {"kind": KIND, **asdict(self)}
        del manifest["path"]
        storage.write_json(storage.join(self.path, MANIFEST), manifest)

    @cached_property
    def _groups(self) -> Parts:
        return Parts(self.path, self.parts)

    @property
    def num_rows(self) -> int:
        """Rows over all groups."""
        return int(self.group_rows.sum())

    @property
    def group_rows(self) -> npt.NDArray[np.int64]:
        """Rows of each row group, in order."""
        return self._groups.group_rows

    @property
    def column_names(self) -> tuple[str, ...]:
        """Columns of the rows; none when there are no rows."""
        return self._groups.column_names

    def read_group(self, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One row group, all columns or those named."""
        return self._groups.read(group, columns)

    def lengths(self, group: int) -> npt.NDArray[np.int32]:
        """Tokens of each row of a group."""
        lengths: npt.NDArray[np.int32] = self.read_group(group, ["length"])["length"].to_numpy()
        return lengths
