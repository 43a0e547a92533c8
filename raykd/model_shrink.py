"""``raykd shrink``: a smaller model folder from a larger one, outside a run."""

import json
import re
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

from raykd.data import storage
from raykd.data.readers import FileFormat, read_chunk, reader_of, scan
from raykd.errors import ConfigError, DataError
from raykd.models import ParameterCounts, count_parameters, folder_bytes, load_config, load_tokenizer
from raykd.models.shrink import LAYOUTS, check_layers, shrink_model
from raykd.models.vocabulary import check_reducible, count_tokens_of_texts, save_vocabulary, tokens_to_keep


def shrink(
    model: str,
    *,
    layers: str | Sequence[int] | None,
    min_count: int | None,
    text: Sequence[str],
    out: str,
) -> list[str]:
    """Write a model with some layers (numbers, or ``"0,2,4"``) and the tokens that stand ``min_count`` times in ``text``.

    ``text`` names files. Returns the sizes of both as lines of a table. Raises RaykdError: ``out`` exists, options that do not
    go together, layers or a vocabulary that cannot be taken from the model.
    """
    numbers = _layers(layers)
    _check_options(numbers, min_count, text, out)
    _check_early(model, numbers, text)
    config = load_config(model)
    check_layers(config, numbers, name=model)
    tokenizer = load_tokenizer(model)
    with tempfile.TemporaryDirectory(prefix="raykd-vocabulary-") as folder:
        if text:
            check_reducible(tokenizer, config, name=model)
            counts = count_tokens_of_texts(tokenizer, _texts(text), int(config.vocab_size))
            kept = tokens_to_keep(tokenizer, config, counts, min_count=min_count or 1)
            save_vocabulary(tokenizer, kept, folder, name=model)
        shrink_model(model, out, layers=numbers, vocabulary=folder if text else None)
    return _table(model, out)


def _layers(text: str | Sequence[int] | None) -> list[int] | None:
    if text is None:
        return None
    if not isinstance(text, str):
        return list(text)
    if not re.fullmatch(r" *\d{1,9} *(, *\d{1,9} *)*", text):
        raise ConfigError(f"--layers {text}: give numbers of layers from 0, joined by commas, for example 0,2,4")
    return [int(number) for number in text.split(",")]


def _check_options(layers: Sequence[int] | None, min_count: int | None, text: Sequence[str], out: str) -> None:
    if layers is None and not text:
        raise ConfigError("there is nothing to shrink: give --layers, or --text for a smaller vocabulary, or both")
    if min_count is not None and not text:
        raise ConfigError(f"--min-count {min_count} counts the tokens of a text; give its files with --text")
    if storage.exists(out) or storage.is_dir(out):
        raise ConfigError(f"--out {out} exists and is not overwritten; give another folder")


def _check_early(model: str, layers: Sequence[int] | None, text: Sequence[str]) -> None:
    """Check files and layers from config.json as it is: the model's own configuration takes the import of transformers."""
    _paths(text)
    file = Path(model, "config.json")
    try:
        config = SimpleNamespace(**json.loads(file.read_text(encoding="utf-8")))
        layout = LAYOUTS[config.model_type]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return  # a name on the hub, or what the full check names
    if isinstance(getattr(config, layout.num_layers, None), int):
        check_layers(config, layers, name=model)


def _paths(files: Sequence[str]) -> list[str]:
    try:
        return storage.expand(files)
    except DataError as error:
        raise DataError(f"--text {error}") from None


def _texts(files: Sequence[str]) -> Iterator[str]:
    """The cells of all lines but blank ones, headers among them.

    Raises DataError with file and line for one that is not UTF-8; for formats whose values are not lines of text, and for
    files without any text.
    """
    paths, empty = _paths(files), True
    named = [path for path in paths if reader_of(path, FileFormat(None, named=True)).names_columns]
    if named:
        raise DataError(f"--text {named[0]}: lines of text or TSV are counted; write the texts alone to a file, one a line")
    for chunk in scan(paths, skip_header=False):
        reader = reader_of(chunk.path)
        for row in read_chunk(chunk):
            try:
                line = row.data.decode()
            except UnicodeDecodeError as error:
                raise DataError(f"{chunk.path}:{row.line}: not UTF-8 text ({error.reason}); convert the file") from None
            if line.strip():
                empty = False
                yield from reader.cells(line, ())
    if empty:
        raise DataError(f"--text {', '.join(files)}: there is no text, so that no token would be kept; give other files")


def _table(before: str, after: str) -> list[str]:
    """Sizes of two model folders, side by side."""
    counts = [count_parameters(model) for model in (before, after)]
    megabytes = [f"{folder_bytes(model) / 1e6:.1f} MB" for model in (before, after)]
    rows = [
        *((name, *(f"{_part(one, name):,}" for one in counts)) for name in ("embeddings", "encoder", "head", "total")),
        ("tokens", *(f"{load_config(model).vocab_size:,}" for model in (before, after))),
        ("on disk", *megabytes),
    ]
    widths = [max(len(row[column]) for row in (*rows, ("", "before", "after"))) for column in range(3)]
    lines = [("", "before", "after"), *rows]
    return [f"{name:<{widths[0]}}  {old:>{widths[1]}}  {new:>{widths[2]}}" for name, old, new in lines]


def _part(counts: ParameterCounts, name: str) -> int:
    value: int = getattr(counts, name)
    return value
