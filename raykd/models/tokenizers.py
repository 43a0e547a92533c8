"""Tokenizers, checked against the model they come with: a wrong one loads without complaint and trains at chance."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

from raykd.data.tokenizer_files import open_tokenizer
from raykd.errors import ModelError
from raykd.models.folders import local_folder

MIN_TABLE_USE = 0.8
"""Smallest share of the embedding table that the vocabulary may fill; tables are padded by a few per cent at most."""
PROBES = 200


def load_tokenizer(path: str, *, needs_padding: bool = True) -> Any:
    """The tokenizer of a model folder (local, remote or a hub name) through ``AutoTokenizer``.

    Raises ModelError: no such folder, no vocabulary in it or none that this machine can read, a vocabulary that does not fit
    the model's embedding table, one that turns every word into the unknown token, or no padding token
    though it ``needs_padding``.
    """
    with local_folder(path) as folder:
        tokenizer = open_tokenizer(str(folder), name=path, needs_padding=needs_padding)
        check_tokenizer(tokenizer, table=_embedding_rows(folder), name=path)
    return tokenizer


def check_tokenizer(tokenizer: Any, *, table: int | None, name: str) -> None:
    """Reject a vocabulary that does not belong to an embedding table of ``table`` rows (None: not known).

    Raises ModelError with both sizes.
    """
    size = len(tokenizer)
    if table is not None and size > table:
        raise ModelError(
            f"the tokenizer of {name} has {size} tokens, but the model's embedding table only {table} rows; "
            "use the tokenizer that the model was trained with"
        )
    if table is not None and size < MIN_TABLE_USE * table:
        raise ModelError(
            f"the tokenizer of {name} has {size} tokens for an embedding table of {table} rows: the vocabulary was not found "
            "or belongs to another model; use the tokenizer files that the model was trained with"
        )
    if not _knows_words(tokenizer):
        raise ModelError(f"the tokenizer of {name} turns every word into {tokenizer.unk_token}; its vocabulary is missing")


def _knows_words(tokenizer: Any) -> bool:
    special = set(tokenizer.all_special_ids)
    words = list(islice((token for token, index in tokenizer.get_vocab().items() if index not in special), PROBES))
    if not words:
        return False
    text = tokenizer.convert_tokens_to_string(words)
    ids = tokenizer.encode(text, add_special_tokens=False, verbose=False)  # no model reads it: its length is nobody's concern
    return any(index != tokenizer.unk_token_id for index in ids)


def _embedding_rows(folder: Path) -> int | None:
    file = folder / "config.json"
    if not file.is_file():
        return None
    size = json.loads(file.read_text(encoding="utf-8")).get("vocab_size")
    return int(size) if size is not None else None
