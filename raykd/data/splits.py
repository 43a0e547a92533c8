"""Splits of rows by a hash of their normalised text, so that near-duplicates fall into the same split."""

import hashlib
import unicodedata
from dataclasses import dataclass

from raykd.data.tokenizer import Text

_RANGE = 2**64


def normalise_text(text: str) -> str:
    """The text in Unicode NFKC, without case, with single spaces between words."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def text_key(text: Text) -> int:
    """A 64-bit hash of the normalised text, or of the two texts of a pair."""
    content = normalise_text(text) if isinstance(text, str) else "\t".join(map(normalise_text, text))
    return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest(), "big")


@dataclass(frozen=True)
class HashRange:
    """The rows of one split: those whose text hash lies between two fractions of the 64-bit range."""

    start: float
    """Lower bound, as a fraction of the range."""
    stop: float
    """Upper bound, not included."""

    def __contains__(self, key: int) -> bool:
        return self.start * _RANGE <= key < self.stop * _RANGE
