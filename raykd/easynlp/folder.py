"""Files of EasyNLP's checkpoint folders besides the model: ``label_mapping.json``, ``train_config.json``, ``vocab.txt``."""

from collections.abc import Mapping, Sequence
from typing import Any

from raykd.data import storage
from raykd.easynlp.flags import FLAGS, FlagValues
from raykd.easynlp.labels import MAPPING, write_mapping

TRAIN_CONFIG = "train_config.json"
MODEL_FILES = (
    "config.json", "model.safetensors", "model.safetensors.index.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.txt", "vocab.json", "merges.txt", "spiece.model",
    "sentencepiece.bpe.model", MAPPING, TRAIN_CONFIG, "domain_head.safetensors", "projections.safetensors",
)  # fmt: skip
"""Files of an earlier model that would be wrong for a new one."""
VOCABULARIES = ("vocab.txt", "vocab.json", "merges.txt", "spiece.model", "sentencepiece.bpe.model")
WORK = ".raykd"
"""Folder inside checkpoint_dir: prepared rows and checkpoints for resuming, then what raykd records of the model."""
PUBLISHED = "published.json"
"""File in it with the key of the training and facts that later commands need."""
VALUES = "flags.json"
"""File in it with all flags."""
HIDDEN = "***"


def read_published(checkpoint_dir: str) -> Mapping[str, Any]:
    """The record of the training whose model a folder holds; empty for any other folder."""
    path = storage.join(storage.absolute(checkpoint_dir), WORK, PUBLISHED)
    return dict(storage.read_json(path)) if storage.exists(path) else {}


def publish(model_folder: str, checkpoint_dir: str, *, source_model: str, labels: Sequence[str], flags: FlagValues) -> None:
    """Make ``checkpoint_dir`` the folder of a trained model; other files stay (logits may lie there too).

    ``config.json`` is removed first and written last, so that a folder with one is complete. Raises ResourceError when it
    cannot be written.
    """
    write_mapping(model_folder, labels)
    config = storage.read_json(storage.join(model_folder, "config.json"))
    storage.write_json(storage.join(model_folder, TRAIN_CONFIG), train_config(flags, labels, config, checkpoint_dir))
    _write_vocabulary(model_folder, source_model)
    for name in MODEL_FILES:
        storage.remove(storage.join(checkpoint_dir, name))
    for name in sorted(storage.file_sizes(model_folder), key=lambda name: name == "config.json"):
        _copy(storage.join(model_folder, name), storage.join(checkpoint_dir, name))


def train_config(flags: FlagValues, labels: Sequence[str], config: Mapping[str, Any], folder: str) -> dict[str, Any]:
    """All flags, the labels, and the model's configuration under both names EasyNLP gives it; keys are left out."""
    model = dict(config) | {
        "pretrained_model_name_or_path": storage.join(storage.absolute(folder), "model.ckpt"),
        "num_labels": len(labels),
        "dropout_rate": 0.0,
    }
    derived = {"label_enumerate_values": ",".join(labels), "model_config": model, "_config_json": {"model_config": model}}
    return visible_flags(flags) | derived


def visible_flags(flags: FlagValues) -> dict[str, Any]:
    """All flags with their values; keys are left out."""
    return {flag.name: HIDDEN if flag.secret and flags[flag.name] else flags[flag.name] for flag in FLAGS}


def _write_vocabulary(model_folder: str, source_model: str) -> None:
    """Write the vocabulary as a separate file, which the tokenizer's saved form may lack."""
    from raykd.models import load_tokenizer, local_folder

    with local_folder(source_model) as source:
        for name in VOCABULARIES:
            if (source / name).is_file():
                _copy(str(source / name), storage.join(model_folder, name))
    if set(storage.file_sizes(model_folder)) & set(VOCABULARIES):
        return
    tokenizer = load_tokenizer(model_folder)
    tokens = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    if [index for _, index in tokens] == list(range(len(tokens))) and _is_word_piece(tokenizer):
        text = "".join(token + "\n" for token, _ in tokens)
        storage.write_bytes(storage.join(model_folder, "vocab.txt"), text.encode())


def _copy(source: str, target: str) -> None:
    with storage.open_input(source) as reader, storage.open_output(target) as writer:
        while block := reader.read(1 << 20):
            writer.write(block)


def _is_word_piece(tokenizer: Any) -> bool:
    backend = getattr(tokenizer, "backend_tokenizer", None)
    return backend is not None and type(backend.model).__name__ == "WordPiece"
