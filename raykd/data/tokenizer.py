"""Text to token ids: the fast tokenizer of a model folder, extracted from transformers once and sent to the tasks as JSON.

Tasks then need neither transformers (seconds of imports, with torch) nor the folder, and all of them use the same tokenizer.
"""

import functools
import hashlib
import itertools
import json
import tempfile
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tokenizers

from raykd.data import storage
from raykd.data.tokenizer_files import (
    COUNTS_END_TOKENS,
    READS_LAST_POSITION,
    SETTINGS,
    VOCABULARIES,
    holds_vocabulary,
    model_type_of,
    open_tokenizer,
)
from raykd.errors import DataError, ModelError

Text = str | tuple[str, str]
"""A text, or a pair of texts."""
PAIR_FORMAT = 2
"""Version in the key of prepared pairs: increment it when the same tokenizer gives a pair of texts other tokens."""
_FILE_FORMAT = 3
"""Version in the name of a cached tokenizer: increment it when the fields of RowTokenizer change."""


@dataclass(frozen=True)
class Encoded:
    """Token ids of some rows, without padding."""

    lengths: npt.NDArray[np.int32]
    input_ids: pa.ListArray
    token_type_ids: pa.ListArray | None


@dataclass(frozen=True)
class RowTokenizer:
    """All settings of a tokenizer that token ids depend on."""

    backend: str
    """The ``tokenizers`` pipeline as JSON, without truncation and padding."""
    has_token_types: bool
    """True when its models take ``token_type_ids``."""
    pad_token_id: int
    truncation_side: str
    """``right`` or ``left``: side on which a text that is too long is cut."""
    split_special_tokens: bool = False
    """True to tokenise special tokens spelled in a text as text; false to map them to the token, as in a stock pipeline."""
    padding_side: str = "right"
    """``right`` or ``left``: side on which rows are padded in a batch."""
    counted_token: str | None = None
    """End-of-sequence token of a model that needs the same number of them in each row of a batch."""
    counted_token_as_text: bool = True
    """True when a text that spells ``counted_token`` can be read as text; a unigram vocabulary cannot."""

    @staticmethod
    def take(tokenizer: Any, *, model_type: str | None) -> "RowTokenizer":
        """Extract the settings of a transformers tokenizer (:func:`open_tokenizer`) for a model of this type."""
        pipeline = tokenizers.Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        pipeline.no_truncation()
        pipeline.no_padding()
        counts = model_type in COUNTS_END_TOKENS and tokenizer.eos_token is not None
        return RowTokenizer(
            backend=pipeline.to_str(),
            has_token_types="token_type_ids" in tokenizer.model_input_names,
            pad_token_id=int(tokenizer.pad_token_id),
            truncation_side=tokenizer.truncation_side,
            split_special_tokens=bool(tokenizer.split_special_tokens),
            padding_side="left" if model_type in READS_LAST_POSITION else "right",
            counted_token=tokenizer.eos_token if counts else None,
            counted_token_as_text=not counts or _reads_as_text(pipeline, tokenizer.eos_token, tokenizer.eos_token_id),
        )

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the tokenizer; a copy saved elsewhere has the same one.

        Fields with their default are excluded, so that a new field keeps the fingerprints, and with them the order of batches.
        """
        named = {field.name: getattr(self, field.name) for field in fields(self) if getattr(self, field.name) != field.default}
        content = json.dumps([named, tokenizers.__version__], sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def encode(self, texts: Sequence[Text], *, sequence_length: int) -> Encoded:
        """Token ids with special tokens; the longer text of a pair is cut first, down to ``sequence_length`` tokens in all.

        A pair whose second text is empty is a single text, as a stock pipeline reads ``{"text": a, "text_pair": ""}``; an empty
        first text stays the first of a pair.
        """
        pipeline = _pipeline(self.backend, sequence_length, self.truncation_side, self.split_special_tokens)
        encodings = pipeline.encode_batch_fast([_without_empty_second(text) for text in texts])
        lengths = np.fromiter(map(len, encodings), np.int32, len(encodings))
        total = int(lengths.sum())
        ids = np.fromiter(itertools.chain.from_iterable(encoding.ids for encoding in encodings), np.int32, total)
        if not self.has_token_types:
            return Encoded(lengths, ragged_column(ids, lengths), None)
        types = np.fromiter(itertools.chain.from_iterable(encoding.type_ids for encoding in encodings), np.uint8, total)
        return Encoded(lengths, ragged_column(ids, lengths), ragged_column(types, lengths))

    def check(self, text: Text) -> None:
        """Raise DataError for a text that a model which counts end-of-sequence tokens cannot process in a batch."""
        token = self.counted_token
        if token is None:
            return
        if isinstance(text, tuple) and not text[1]:
            raise DataError(
                f"the second text is empty: the model needs the same number of {token} in every row, and a single text has "
                "fewer than a pair; remove the row, or use another model"
            )
        parts = text if isinstance(text, tuple) else (text,)
        if not self.counted_token_as_text and any(token in unicodedata.normalize("NFKC", part) for part in parts):
            raise DataError(
                f"the text spells {token}, the end-of-sequence token, which the model's tokenizer cannot read as "
                "text; remove it"
            )


def ragged_column(flat: npt.NDArray[np.generic], lengths: npt.NDArray[np.int32]) -> pa.ListArray:
    """The values of all rows, ``flat``, as a column with a list of ``lengths[i]`` values in row i."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.cumsum(lengths, out=offsets[1:])
    values = pa.array(flat)
    item = pa.field("element", values.type, nullable=False)
    return pa.ListArray.from_arrays(pa.array(offsets), values, type=pa.list_(item))


def _without_empty_second(text: Text) -> Text:
    return text[0] if isinstance(text, tuple) and not text[1] else text


def _reads_as_text(pipeline: tokenizers.Tokenizer, token: str, index: int) -> bool:
    """True when ``token`` spelled in a text is tokenised as text once special tokens are split."""
    pipeline.encode_special_tokens = True
    spelled = (token, f"a {token} a", f"a{token}a")
    return all(index not in pipeline.encode(text, add_special_tokens=False).ids for text in spelled)


@functools.lru_cache(maxsize=4)
def _pipeline(backend: str, sequence_length: int, truncation_side: str, split_special_tokens: bool) -> tokenizers.Tokenizer:
    """Built once per worker process."""
    pipeline = tokenizers.Tokenizer.from_str(backend)
    pipeline.encode_special_tokens = split_special_tokens
    pipeline.enable_truncation(sequence_length, strategy="longest_first", direction=truncation_side)
    return pipeline


def load_row_tokenizer(name: str, cache: str) -> RowTokenizer:
    """The tokenizer of a model folder (local or remote) or of a model on the hub.

    The tokenizer of a folder is cached in ``cache`` by the content of its files: transformers is imported for new ones only.
    Raises ModelError when there is no tokenizer, no fast one, or none with a padding token.
    """
    files = _folder_files(name)
    if files is None:
        if name.startswith(("/", ".", "~")) or "://" in name:
            raise ModelError(f"the model folder {name} does not exist; give a folder, or the name of a model on the hub")
        return _open(name, name)
    digest = hashlib.blake2b(digest_size=16)
    for file, content in sorted(files.items()):
        digest.update(f"{file}\0{len(content)}\0".encode() + content)
    kept = storage.join(cache, "tokenizers", f"{digest.hexdigest()}-{tokenizers.__version__}-{_FILE_FORMAT}.json")
    if storage.exists(kept):
        return RowTokenizer(**storage.read_json(kept))
    with tempfile.TemporaryDirectory(prefix="raykd-") as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        tokenizer = _open(folder, name)
    storage.write_json(kept, asdict(tokenizer))
    return tokenizer


def load_mask_token(name: str) -> str:
    """Spelling of a tokenizer's mask token, which it reads in a text. Raises ModelError without one."""
    files = _folder_files(name)
    with tempfile.TemporaryDirectory(prefix="raykd-") as folder:
        for file, content in (files or {}).items():
            (Path(folder) / file).write_bytes(content)
        tokenizer = open_tokenizer(folder if files else name, name=name)
    if tokenizer.mask_token is None or tokenizer.split_special_tokens:
        raise ModelError(
            f"the tokenizer of {name} reads no mask token in a text; set augment.mask to 0, or give augment.masked_lm"
        )
    return str(tokenizer.mask_token)


def _open(source: str, name: str) -> RowTokenizer:
    return RowTokenizer.take(open_tokenizer(source, name=name), model_type=model_type_of(source))


def _folder_files(name: str) -> Mapping[str, bytes] | None:
    """Name and content of a folder's settings and vocabulary; None when there is no such folder."""
    if not storage.is_dir(name):
        return None
    files = [file for file in storage.file_sizes(name) if file.endswith(SETTINGS)]
    if not holds_vocabulary(files):
        raise ModelError(f"{name} holds no tokenizer: one of {', '.join(VOCABULARIES)} is needed; copy it from the base model")
    return {file: storage.read_bytes(storage.join(name, file)) for file in files}
