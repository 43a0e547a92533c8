"""Texts that two splits have in common: a model that was trained or selected on a test text has seen the answer."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from raykd.data import storage
from raykd.data.tokenised_set import TokenisedSet

TEXT_KEYS = "text_keys.bin"
"""File of a prepared set with the hash of every row's normalised text: unsigned 64-bit integers, the lowest byte first."""


@dataclass(frozen=True)
class Overlap:
    """Rows of one split whose text another split has too, but for case, white space and Unicode form."""

    split: str
    other: str
    shared: int
    rows: int

    def __str__(self) -> str:
        share = f"{self.shared:,} of {self.rows:,} {self.split} texts ({self.shared / self.rows:.1%})"
        return f"{share} are among the {self.other} texts"


def text_keys(prepared: str) -> npt.NDArray[np.uint64]:
    """Hashes of the normalised texts of a prepared set, in row order."""
    return np.frombuffer(storage.read_bytes(storage.join(prepared, TEXT_KEYS)), dtype="<u8")


def find_overlaps(splits: Mapping[str, Sequence[TokenisedSet]]) -> list[Overlap]:
    """The overlaps of each split, which may be several sets, with those before it; pairs without one are left out."""
    keys = {name: np.concatenate([text_keys(rows.path) for rows in sets]) for name, sets in splits.items()}
    names = list(splits)
    found = [
        Overlap(name, other, int(np.isin(keys[name], keys[other]).sum()), len(keys[name]))
        for position, name in enumerate(names)
        for other in names[:position]
    ]
    return [one for one in found if one.shared]
