"""A prepared set: tokenised rows as Parquet part files, and the manifest that lists them.

Columns: ``shard`` int32 and ``row`` int64 (the row's name), ``length`` int32 (tokens), ``input_ids`` list<int32>,
``token_type_ids`` list<uint8> where the tokenizer yields them, ``label`` unless unlabelled (single label: an id, int32;
multi-label: 0 or 1 per label, fixed_size_list<int8>[C]; regression: a number), and the requested extra columns. Rows are in
the order of the source files.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from raykd.data import storage
from raykd.data.parquet_files import MANIFEST, PartInfo, RowGroups, read_manifest

KIND = "prepared set"
LABELLED = "labelled"
"""Column of a joined set with labelled and unlabelled rows: true where the label is known."""


@dataclass(frozen=True)
class SourceFile:
    """A file the rows came from."""

    path: str
    rows: int
    """Number of rows, including rejected rows and rows of other splits, without the header."""
    digest: str
    """Hash of its content."""


@dataclass(frozen=True)
class TokenisedSet:
    """Row groups of tokenised rows. Made by :func:`raykd.data.prepare.prepare`; opened anywhere by its path."""

    path: str
    """Its folder."""
    fingerprint: str
    """Hash of everything the tokens depend on."""
    rows_fingerprint: str
    """Hash of source content, row validation and row groups: equal for the same rows under two tokenizers or two lengths."""
    labels: tuple[str, ...] | None
    """Label texts in the order of their ids; None when unlabelled."""
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
    """Rows that belong to another split, were not selected, or have an excluded text."""
    parts: tuple[PartInfo, ...]
    """The files, in row order."""
    padding_side: str = "right"
    """``right`` or ``left``: side on which the model's rows are padded."""
    excluded: int = 0
    """Filtered rows whose text stands in an excluded set, such as the test set."""
    labelled_groups: int | None = None
    """Number of leading row groups whose rows have labels, in a joined set with unlabelled rows behind them; its rows have the
    column ``labelled``, and zeros in ``label`` where that is false. None: all rows have a label, or none has."""

    @staticmethod
    def open(path: str) -> "TokenisedSet":
        """Open the set of a folder. Raises DataError when it holds no complete one."""
        manifest = read_manifest(path, KIND)
        labels, sources, parts = manifest["labels"], manifest["sources"], manifest["parts"]
        lists = {
            "labels": None if labels is None else tuple(labels),
            "sources": tuple(SourceFile(**source) for source in sources),
            "parts": tuple(PartInfo.from_json(part) for part in parts),
        }
        known = {field.name for field in fields(TokenisedSet)}  # manifests of other versions have more
        return TokenisedSet(path=path, **{name: value for name, value in {**manifest, **lists}.items() if name in known})

    def save(self) -> None:
        """Write the manifest, which makes the set complete."""
        manifest: dict[str, Any] = {"kind": KIND, **asdict(self)}
        del manifest["path"]
        storage.write_json(storage.join(self.path, MANIFEST), manifest)

    @cached_property
    def _groups(self) -> RowGroups:
        return RowGroups(self.path, self.parts)

    @property
    def num_rows(self) -> int:
        """Rows over all groups."""
        return int(self.group_rows.sum())

    @property
    def num_labelled(self) -> int:
        """Rows that have a label."""
        return 0 if self.labels is None else int(self.group_rows[: self.labelled_groups].sum())

    @property
    def group_rows(self) -> npt.NDArray[np.int64]:
        """Rows of each row group, in order."""
        return self._groups.group_rows

    @property
    def column_names(self) -> tuple[str, ...]:
        """Columns of the rows; () when there are no rows."""
        return tuple(self.read_group(0).column_names) if len(self.group_rows) else ()

    def read_group(self, group: int, columns: Sequence[str] | None = None) -> pa.Table:
        """One row group, all columns or those in ``columns``."""
        if self.labelled_groups is None:
            return self._groups.read(group, columns)
        derived = {"label", LABELLED}
        stored = None if columns is None else [name for name in columns if name not in derived]
        if group < self.labelled_groups and (columns is None or "label" in columns):
            stored = None if stored is None else [*stored, "label"]
        table = self._marked(self._groups.read(group, stored), labelled=group < self.labelled_groups)
        return table if columns is None else table.select(list(columns))

    @cached_property
    def _label_field(self) -> pa.Field:
        return self._groups.read(0, ["label"]).schema.field("label")

    def _marked(self, table: pa.Table, *, labelled: bool) -> pa.Table:
        """Append the column ``labelled``, and ``label`` with zeros where the rows have none."""
        if not labelled:
            table = table.append_column(self._label_field, _zeros(self._label_field.type, len(table)))
        mark = pa.field(LABELLED, pa.bool_(), nullable=False)
        return table.append_column(mark, pa.array(np.full(len(table), labelled)))

    def lengths(self, group: int) -> npt.NDArray[np.int32]:
        """Tokens of each row of a group."""
        lengths: npt.NDArray[np.int32] = self.read_group(group, ["length"])["length"].to_numpy()
        return lengths


def _zeros(kind: pa.DataType, rows: int) -> pa.Array:
    if not pa.types.is_fixed_size_list(kind):
        return pa.array(np.zeros(rows), kind)
    return pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(rows * kind.list_size), kind.value_type), type=kind)
