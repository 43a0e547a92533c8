"""A small tokenizer and prepared sets made with it."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from raykd.data.prepare import prepare
from raykd.data.prepare_spec import PrepareSpec
from raykd.data.tokenised_set import TokenisedSet
from tests.labelled_texts import labelled_texts

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "book", "a", "b", "c", "##s")


def write_tokenizer(folder: Path, *, words: tuple[str, ...] = WORDS, token_types: bool = True, **settings: Any) -> str:
    """A WordPiece tokenizer of whole words."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(words) + "\n")
    names = ["input_ids", "token_type_ids", "attention_mask"] if token_types else ["input_ids", "attention_mask"]
    content = {"tokenizer_class": "BertTokenizer", "model_input_names": names, **settings}
    (folder / "tokenizer_config.json").write_text(json.dumps(content))
    return str(folder)


@pytest.fixture
def make_tokenizer(tmp_path: Path) -> Callable[..., str]:
    """``make_tokenizer(name, ...)`` writes a tokenizer folder of that name, see :func:`write_tokenizer`."""
    return lambda name, **settings: write_tokenizer(tmp_path / name, **settings)


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer") / "bert")


@pytest.fixture
def spec(tmp_path: Path, tokenizer_folder: str) -> PrepareSpec:
    """Single texts with labels neg and pos, from ``rows.tsv``."""
    return labelled_texts(tmp_path / "rows.tsv", tokenizer_folder)


@pytest.fixture
def prepare_rows(spec: PrepareSpec, tmp_path: Path) -> Callable[..., TokenisedSet]:
    """Writes ``content`` as ``rows.tsv`` and prepares it, with the spec's fields changed by keyword."""

    def make(content: str | bytes, **changes: Any) -> TokenisedSet:
        (tmp_path / "rows.tsv").write_bytes(content.encode() if isinstance(content, str) else content)
        return prepare(replace(spec, **changes), str(tmp_path / "cache"))

    return make
