"""Prompts of a causal language model as token ids: a fixed text around the texts of a row, which alone are cut."""

import functools
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tokenizers

from raykd.data.tokenizer import Encoded, RowTokenizer, Text, ragged_column
from raykd.errors import DataError

MASKED_WORD = "___"
"""Spelling of a masked word in a view of a text: language models have no token for it."""


@dataclass(frozen=True)
class PromptTokenizer(RowTokenizer):
    """Tokenises each row as a whole prompt, so that tokens are those of the prompt written out.

    The texts of a row have at most ``sequence_length`` tokens together, and the prompt at most ``max_tokens``; the text is cut
    for both, the rest of the prompt never.
    """

    literals: tuple[str, ...] = ()
    """Texts before, between and after the fields: one more than ``fields``."""
    fields: tuple[int, ...] = ()
    """Text that stands in each field: 0 for the first, 1 for the second of a pair."""
    leading_ids: tuple[int, ...] = ()
    """Token ids before the prompt, such as the beginning-of-sequence token."""
    max_tokens: int | None = None
    """Most tokens of a prompt, ``leading_ids`` included; None where the model has no limit."""

    def render(self, text: Text) -> str:
        """The prompt of a row as text."""
        pair = text if isinstance(text, tuple) else (text, "")
        filled = (pair[field] + literal for field, literal in zip(self.fields, self.literals[1:], strict=True))
        return self.literals[0] + "".join(filled)

    def prompt_ids(self, text: Text, answer: str = "") -> list[int]:
        """Token ids of a row's prompt, uncut, followed by an answer."""
        ids = self._pipeline().encode(self.render(text) + answer, add_special_tokens=False).ids
        return [*self.leading_ids, *ids]

    def encode(self, texts: Sequence[Text], *, sequence_length: int) -> Encoded:
        """Token ids of the prompts. Raises DataError when a prompt has more than ``max_tokens`` without any text."""
        pipeline = self._pipeline()
        cut = [self._cut(text, sequence_length) for text in texts]
        encodings = pipeline.encode_batch_fast([self.render(text) for text in cut], add_special_tokens=False)
        rows = [[*self.leading_ids, *encoding.ids] for encoding in encodings]
        limit = self.max_tokens
        if limit is not None:
            rows = [row if len(row) <= limit else self._shortened(text, limit) for row, text in zip(rows, cut, strict=True)]
        lengths = np.fromiter(map(len, rows), np.int32, len(rows))
        flat = np.fromiter(itertools.chain.from_iterable(rows), np.int32, int(lengths.sum()))
        return Encoded(lengths, ragged_column(flat, lengths), None)

    def _shortened(self, text: Text, limit: int) -> list[int]:
        """Token ids of a prompt whose text is cut until the prompt has ``limit`` tokens or fewer."""
        ids, left = self.prompt_ids(text), sum(map(len, self._token_ends(text)))
        while len(ids) > limit:
            if not left:
                raise DataError(f"the prompt alone has {len(ids)} tokens, and the model takes {limit}; shorten it")
            left = max(0, left - (len(ids) - limit))
            text = self._cut(text, left)
            ids = self.prompt_ids(text)
        return ids

    def _cut(self, text: Text, limit: int) -> Text:
        """The text, or the texts of a pair, cut to ``limit`` tokens in all; the longer one first."""
        parts = text if isinstance(text, tuple) else (text,)
        ends = self._token_ends(text)
        if sum(map(len, ends)) <= limit:
            return text
        lengths = _shares([len(one) for one in ends], limit)
        cut = tuple(self._kept(part, one, keep) for part, one, keep in zip(parts, ends, lengths, strict=True))
        return (cut[0], cut[1]) if isinstance(text, tuple) else cut[0]

    def _token_ends(self, text: Text) -> list[list[tuple[int, int]]]:
        """First and last character of each token, for each text of a row."""
        parts = text if isinstance(text, tuple) else (text,)
        return [self._pipeline().encode(part, add_special_tokens=False).offsets for part in parts]

    def _kept(self, text: str, offsets: Sequence[tuple[int, int]], keep: int) -> str:
        if keep >= len(offsets):
            return text
        if not keep:
            return ""
        return text[offsets[-keep][0] :] if self.truncation_side == "left" else text[: offsets[keep - 1][1]]

    def _pipeline(self) -> tokenizers.Tokenizer:
        return _pipeline(self.backend, self.split_special_tokens)


def split_fields(prompt: str, marks: tuple[str, str]) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """The literals and the fields of a prompt in which the marks stand for the first and the second text."""
    pieces = re.split("|".join(f"({re.escape(mark)})" for mark in marks), prompt)
    return tuple(pieces[::3]), tuple(int(second is not None) for second in pieces[2::3])


def _shares(lengths: Sequence[int], limit: int) -> list[int]:
    """Tokens to keep of one or two texts: the longer one is cut first, then both alike."""
    if len(lengths) == 1:
        return [min(lengths[0], limit)]
    short = min(*lengths, limit // 2)
    return [short, limit - short] if lengths[0] <= lengths[1] else [limit - short, short]


@functools.lru_cache(maxsize=4)
def _pipeline(backend: str, split_special_tokens: bool) -> tokenizers.Tokenizer:
    """Built once per worker process; it cuts nothing."""
    pipeline = tokenizers.Tokenizer.from_str(backend)
    pipeline.encode_special_tokens = split_special_tokens
    return pipeline
