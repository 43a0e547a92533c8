"""Tokenizers opened by transformers from a model folder, with errors that name missing files and packages."""

import importlib.util
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from raykd.errors import ModelError

VOCABULARIES = ("tokenizer.json", "vocab.*", "*.model", "*.tiktoken")
"""Names of files that hold a vocabulary, over all tokenizers of transformers."""
SETTINGS = (".json", ".txt", ".model", ".tiktoken")
"""Endings of the files that a tokenizer depends on."""
COUNTS_END_TOKENS = frozenset({"bart", "bigbird_pegasus", "mbart", "mt5", "mvp", "plbart", "t5", "umt5"})
"""Model types whose classifier needs the same number of end-of-sequence tokens in each row of a batch."""
READS_LAST_POSITION = frozenset({"xlnet"})
"""Model types whose classifier reads the last position, padding or not: their rows are padded on the left."""
_PACKAGES = {"*.model": ("sentencepiece", "google.protobuf"), "*.tiktoken": ("tiktoken",)}
"""Packages that transformers needs to read a vocabulary of this kind."""
_DISTRIBUTIONS = {"google.protobuf": "protobuf"}


def holds_vocabulary(files: Iterable[str]) -> bool:
    """True when one of the file names may be a vocabulary that transformers reads."""
    return any(fnmatchcase(file, pattern) for file in files for pattern in VOCABULARIES)


def open_tokenizer(source: str, *, name: str, needs_padding: bool = True) -> Any:
    """Open the fast tokenizer of a local folder or of a model on the hub through ``AutoTokenizer``.

    Special tokens that a text spells are read as a stock pipeline reads them: as the token itself, unless the tokenizer has
    ``split_special_tokens``. Models that count end-of-sequence tokens get that setting, in memory and in what they save.
    ``name`` is what errors call the folder. Raises ModelError: a missing package, unreadable files, no vocabulary that belongs
    to the tokenizer's class, no fast version, or no padding token though it ``needs_padding``.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False, local_files_only=Path(source).is_dir())
    except ImportError as error:
        raise ModelError(_packages_message(source, name) or f"the tokenizer of {name}: {_first_line(error)}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # the last three: JSON that is no tokenizer
        raise ModelError(
            _packages_message(source, name)
            or f"no tokenizer can be loaded from {name}: {_first_line(error)}; give a model folder or a name on the hub"
        ) from error
    _check_vocabulary(tokenizer, Path(source), name)
    if not tokenizer.is_fast:
        raise ModelError(f"the tokenizer of {name} has no fast version (tokenizer.json); raykd needs one")
    if needs_padding and tokenizer.pad_token_id is None:
        raise ModelError(f"the tokenizer of {name} has no padding token; set pad_token in its tokenizer_config.json")
    if model_type_of(source) in COUNTS_END_TOKENS:
        keep_setting(tokenizer, "split_special_tokens", True)
    return tokenizer


def keep_setting(tokenizer: Any, setting: str, value: Any) -> None:
    """Set an attribute of a tokenizer that ``save_pretrained`` also writes."""
    setattr(tokenizer, setting, value)
    tokenizer.init_kwargs[setting] = value


def _check_vocabulary(tokenizer: Any, folder: Path, name: str) -> None:
    """Raise ModelError for a folder without a vocabulary file, of which transformers makes a tokenizer of special tokens."""
    if not folder.is_dir():
        return
    own = {file for file in type(tokenizer).vocab_files_names.values() if file} | {"tokenizer.json"}
    present = {file.name for file in folder.iterdir()}
    if not own & present and not holds_vocabulary(present):
        raise ModelError(
            f"{name} has no tokenizer: none of {', '.join(sorted(own))} is there; "
            "copy the model's tokenizer files into the folder"
        )


def _packages_message(source: str, name: str) -> str | None:
    """Sentence about packages that the vocabulary of a folder needs and this machine lacks; None where nothing is lacking."""
    folder = Path(source)
    files = [file.name for file in folder.iterdir()] if folder.is_dir() else []
    needed = {
        package
        for pattern, packages in _PACKAGES.items()
        for file in files
        if fnmatchcase(file, pattern)
        for package in packages
    }
    lacking = sorted(_DISTRIBUTIONS.get(package, package) for package in needed if not _installed(package))
    if not lacking:
        return None
    vocabulary = next(file for file in files for pattern in _PACKAGES if fnmatchcase(file, pattern))
    return (
        f"the tokenizer of {name} ({vocabulary}) needs {' and '.join(lacking)}, which is not installed; "
        f"pip install {' '.join(lacking)}, or add the tokenizer.json that transformers saves"
    )


def _installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except (ModuleNotFoundError, ValueError):  # a parent package is missing, or a test has blocked it
        return False


def model_type_of(source: str) -> str | None:
    """``model_type`` of the configuration of a local folder or of a model on the hub; None without one."""
    from transformers import AutoConfig

    try:
        local = Path(source).is_dir()
        return str(AutoConfig.from_pretrained(source, trust_remote_code=False, local_files_only=local).model_type)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None  # a folder of a tokenizer alone; a broken configuration is refused where the model is opened


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
