"""EasyNLP's model names and their equivalents on the Hugging Face hub."""

import logging
import os
from pathlib import Path

from raykd.errors import ConfigError

log = logging.getLogger(__name__)

ALIASES = {
    "bert-tiny-uncased": "huawei-noah/TinyBERT_General_4L_312D",
    "bert-small-uncased": "google/bert_uncased_L-6_H-768_A-12",
    "bert-base-uncased": "google-bert/bert-base-uncased",
    "bert-large-uncased": "google-bert/bert-large-uncased",
    "bert-base-chinese": "google-bert/bert-base-chinese",
    "roberta-base-en": "FacebookAI/roberta-base",
    "roberta-large-en": "FacebookAI/roberta-large",
    "hfl/macbert-base-zh": "hfl/chinese-macbert-base",
    "hfl/macbert-large-zh": "hfl/chinese-macbert-large",
    "langboat/mengzi-bert-base": "Langboat/mengzi-bert-base",
    "langboat/mengzi-bert-base-fin": "Langboat/mengzi-bert-base-fin",
}
"""Names that differ on the hub; every other name is looked up there as it is."""


def resolve_model(name: str) -> str:
    """An existing folder (with or without ``./``), else the hub's name of an alias, else the name itself.

    Raises ConfigError for a path that can only be a folder and does not exist, for EasyNLP's own checkpoints, and for
    ``oss://``.
    """
    if name.startswith("oss://"):
        raise ConfigError(f"model {name}: oss:// is not read; copy the folder to a local disk, s3://, gs:// or hdfs://")
    if "://" in name:
        return name
    if os.path.isdir(name):
        refuse_unimported(name)
        return name
    if name.startswith(("./", "../", "/", "~")):
        expanded = os.path.expanduser(name)
        if os.path.isdir(expanded):
            refuse_unimported(expanded)
            return expanded
        raise ConfigError(
            f"model folder {name} does not exist (looked in {os.getcwd()}); give an existing folder or a model's name"
        )
    if name in ALIASES:
        log.info("%s is %s on the model hub", name, ALIASES[name])
    return ALIASES.get(name, name)


def refuse_unimported(folder: str) -> None:
    """Raise ConfigError for a folder written by EasyNLP: weights in a pickle, under its own names."""
    files = {name: (Path(folder) / name).is_file() for name in ("pytorch_model.bin", "train_config.json", "model.safetensors")}
    if files["pytorch_model.bin"] and files["train_config.json"] and not files["model.safetensors"]:
        raise ConfigError(
            f"{folder} is a checkpoint of EasyNLP; import it once: raykd easynlp import {folder} OUT, and give OUT"
        )
