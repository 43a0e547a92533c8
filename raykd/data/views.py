"""Augmented views: changed copies of a row's text, by masking, dropping and n-gram sampling of words.

Tang et al. 2019, arXiv:1903.12136 §3.2 (masking and n-gram sampling; its replacement by part of speech needs a tagger). A
word is text between white space. A view follows from the seed, the row's name and the view's number alone.
"""

import hashlib
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from raykd.data.tokenizer import Text

LONGEST_NGRAM = 5
MASK = "[MASK]"
"""Spelling of a masked word where no tokenizer is involved: in hashes of texts."""
Words = tuple[str | None, ...]
"""Words of a text; None is a masked one."""


class WordFiller(Protocol):
    """Replaces masked words. Pickled to the Ray tasks that make views."""

    @property
    def identity(self) -> dict[str, Any]:
        """JSON values that the words depend on; part of a prepared set's key."""
        ...

    def fill(self, texts: Sequence[Words], draws: Sequence[random.Random]) -> list[Words]:
        """The texts with words in place of None; ``draws`` has the random numbers of each text."""
        ...


class View(NamedTuple):
    """A changed copy of a row's text."""

    row: int
    """Position of the row among those given."""
    number: int
    """Number of the view, from 0."""
    texts: tuple[Words, ...]
    """One text, or the two of a pair."""

    def text(self, mask: str) -> Text:
        """The text, with ``mask`` for masked words."""
        joined = [" ".join(mask if word is None else word for word in words) for words in self.texts]
        return joined[0] if len(joined) == 1 else (joined[0], joined[1])


@dataclass(frozen=True)
class ViewSettings:
    """Number and kind of the views of each row; see :class:`raykd.config.augment.AugmentConfig`."""

    views: int
    mask: float
    drop: float
    ngram: float
    seed: int
    filler: WordFiller | None = None
    """Model that replaces masked words; None keeps them masked."""

    @property
    def identity(self) -> dict[str, Any]:
        """JSON values that the views depend on."""
        numbers = {name: getattr(self, name) for name in ("views", "mask", "drop", "ngram", "seed")}
        return numbers | ({} if self.filler is None else {"filler": self.filler.identity})

    @property
    def has_mask_tokens(self) -> bool:
        """True when views have mask tokens, which a tokenizer needs to know."""
        return self.mask > 0 and self.filler is None

    def of(self, texts: Sequence[Text], names: Sequence[tuple[int, int]]) -> Iterator[View]:
        """Views of rows with these texts and names (shard, row), each different from its row and from earlier views of it."""
        draws = [self._draw(*name, number) for name in names for number in range(self.views)]
        views = [
            self._view(index // self.views, texts[index // self.views], index % self.views, draw)
            for index, draw in enumerate(draws)
        ]
        last, seen = -1, set[tuple[Words, ...]]()
        for view in views if self.filler is None else _filled(views, self.filler, draws):
            if view.row != last:
                last, seen = view.row, {_words(texts[view.row])}
            if view.texts not in seen:
                seen.add(view.texts)
                yield view

    def _view(self, row: int, text: Text, number: int, draw: random.Random) -> View:
        words = list(_words(text))
        present = [index for index, one in enumerate(words) if one] or [0]
        changed = present[int(draw.random() * len(present))]
        words[changed] = self._change(words[changed], draw)
        return View(row, number, tuple(words))

    def _draw(self, shard: int, row: int, number: int) -> random.Random:
        key = hashlib.blake2b(f"{self.seed}/{shard}/{row}/{number}".encode(), digest_size=8).digest()
        return random.Random(int.from_bytes(key, "big"))

    def _change(self, words: Words, draw: random.Random) -> Words:
        kept: list[str | None] = []
        for word in words:
            chance = draw.random()
            if chance < self.mask:
                kept.append(None)
            elif chance >= self.mask + self.drop:
                kept.append(word)
        if draw.random() < self.ngram:
            length = 1 + int(draw.random() * LONGEST_NGRAM)
            start = int(draw.random() * max(len(kept) - length + 1, 1))
            kept = kept[start : start + length]
        if words and not any(kept):  # a text of mask tokens, or none, says nothing
            kept = [words[int(draw.random() * len(words))]]
        return tuple(kept)


def _words(text: Text) -> tuple[Words, ...]:
    return tuple(tuple(one.split()) for one in ((text,) if isinstance(text, str) else text))


def _filled(views: Sequence[View], filler: WordFiller, draws: Sequence[random.Random]) -> Iterator[View]:
    """The views with words in place of masked ones; the words of a pair are predicted text by text."""
    masked = [(index, part) for index, view in enumerate(views) for part, words in enumerate(view.texts) if None in words]
    words = filler.fill([views[index].texts[part] for index, part in masked], [draws[index] for index, _ in masked])
    replaced = dict(zip(masked, words, strict=True))
    for index, view in enumerate(views):
        yield view._replace(texts=tuple(replaced.get((index, part), text) for part, text in enumerate(view.texts)))
