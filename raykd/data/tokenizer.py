"""Text to token ids: the fast tokenizer of a model folder, taken out of transformers once and sent to the tasks as text.

Tasks then need neither transformers (seconds of imports, with torch) nor the folder, and all of them use the same tokenizer.
"""

import functools
import hashlib
import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import tokenizers

from raykd.data import storage
from raykd.errors import ModelError

Text = str | tuple[str, str]
"""A text, or a pair of texts."""
_SETTINGS = (".json", ".txt", ".model", ".tiktoken")
_VOCABULARIES = ("tokenizer.json", "vocab.txt", "vocab.json", ".model", ".tiktoken")


@dataclass(frozen=True)
class Encoded:
    """Token ids of some rows, without padding."""

    lengths: npt.NDArray[np.int32]
    input_ids: pa.ListArray
    token_type_ids: pa.ListArray | None


@dataclass(frozen=True)
class RowTokenizer:
    """Everything of a tokenizer that token ids depend on."""

    backend: str
    """The ``tokenizers`` pipeline as JSON, without truncation and padding."""
    has_token_types: bool
    """Whether its models take ``token_type_ids``."""
    pad_token_id: int
    truncation_side: str
    """``right`` or ``left``: where a text that is too long loses tokens."""

    @functools.cached_property
    def fingerprint(self) -> str:
        """Hash of the tokenizer; a copy saved elsewhere has the same one."""
        content = json.dumps([asdict(self), tokenizers.__version__], sort_keys=True)
        return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()

    def encode(self, texts: Sequence[Text], *, sequence_length: int) -> Encoded:
        """Token ids with special tokens; the longer text of a pair is cut first, down to ``sequence_length`` tokens in all."""
        pipeline = _pipeline(self.backend, sequence_length, self.truncation_side)
        encodings = pipeline.encode_batch_fast(texts)
        lengths = np.fromiter(map(len, encodings), np.int32, len(encodings))
        offsets = np.zeros(len(encodings) + 1, np.int32)
        np.cumsum(lengths, out=offsets[1:])

        def column(values: npt.NDArray[np.generic]) -> pa.ListArray:
            flat = pa.array(values)
            item = pa.field("element", flat.type, nullable=False)
            return pa.ListArray.from_arrays(pa.array(offsets), flat, type=pa.list_(item))

        total = int(offsets[-1])
        ids = np.fromiter(itertools.chain.from_iterable(encoding.ids for encoding in encodings), np.int32, total)
        if not self.has_token_types:
            return Encoded(lengths, column(ids), None)
        types = np.fromiter(itertools.chain.from_iterable(encoding.type_ids for encoding in encodings), np.uint8, total)
        return Encoded(lengths, column(ids), column(types))


@functools.lru_cache(maxsize=4)
def _pipeline(backend: str, sequence_length: int, truncation_side: str) -> tokenizers.Tokenizer:
    """Built once per worker process."""
    pipeline = tokenizers.Tokenizer.from_str(backend)
    pipeline.enable_truncation(sequence_length, strategy="longest_first", direction=truncation_side)
    return pipeline


def load_row_tokenizer(name: str, cache: str) -> RowTokenizer:
    """The tokenizer of a model folder (local or remote) or of a model on the hub.

    What a folder yields is kept in ``cache``, by the content of its files: transformers is imported for new ones only.
    Raises ModelError when there is no tokenizer, no fast one, or none with a padding token.
    """
    files = _folder_files(name)
    if files is None:
        if name.startswith(("/", ".", "~")) or "://" in name:
            raise ModelError(f"the model folder {name} does not exist; give a folder, or the name of a model on the hub")
        return _take_out(name, name)
    digest = hashlib.blake2b(digest_size=16)
    for file, content in sorted(files.items()):
        digest.update(f"{file}\0{len(content)}\0".encode() + content)
    kept = storage.join(cache, "tokenizers", f"{digest.hexdigest()}-{tokenizers.__version__}.json")
    if storage.exists(kept):
        return RowTokenizer(**storage.read_json(kept))
    with tempfile.TemporaryDirectory(prefix="raykd-") as folder:
        for file, content in files.items():
            (Path(folder) / file).write_bytes(content)
        tokenizer = _take_out(folder, name)
    storage.write_json(kept, asdict(tokenizer))
    return tokenizer


def _folder_files(name: str) -> Mapping[str, bytes] | None:
    """Name and content of a folder's settings and vocabulary; None when there is no such folder."""
    if not storage.is_dir(name):
        return None
    files = [file for file in storage.file_sizes(name) if file.endswith(_SETTINGS)]
    if not any(file.endswith(_VOCABULARIES) for file in files):
        raise ModelError(f"{name} holds no tokenizer: one of {', '.join(_VOCABULARIES)} is needed; copy it from the base model")
    return {file: storage.read_bytes(storage.join(name, file)) for file in files}


def _take_out(source: str, name: str) -> RowTokenizer:
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # the last three: JSON that is no tokenizer
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise ModelError(
            f"no tokenizer can be loaded from {name}: {reason}; give a model folder or a name on the hub"
        ) from None
    if not tokenizer.is_fast:
        raise ModelError(f"the tokenizer of {name} has no fast version (tokenizer.json); raykd needs one")
    if tokenizer.pad_token_id is None:
        raise ModelError(f"the tokenizer of {name} has no padding token; set pad_token in its tokenizer_config.json")
    pipeline = tokenizers.Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    pipeline.no_truncation()
    pipeline.no_padding()
    has_token_types = "token_type_ids" in tokenizer.model_input_names
    return RowTokenizer(pipeline.to_str(), has_token_types, int(tokenizer.pad_token_id), tokenizer.truncation_side)
