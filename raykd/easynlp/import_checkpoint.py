"""``raykd easynlp import DIR OUT``: an EasyNLP checkpoint as a Hugging Face folder with the same logits.

EasyNLP keeps an encoder (``backbone.*``) and ``classifier``, a linear layer on its pooled output ``tanh(W h + b)``. That is
what the stock classifiers of BERT and ALBERT compute, and of RoBERTa, whose classifier holds the pooler's weights. Meta-KD's
models put a relu between pooler and classifier, which no stock class computes: of those only the encoder can be imported.
"""

import logging
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raykd.config.paths import expand_home
from raykd.data import storage
from raykd.easynlp.folder import TRAIN_CONFIG
from raykd.easynlp.labels import read_mapping
from raykd.errors import ConfigError, ModelError
from raykd.task_kinds import MULTI_LABEL, SINGLE_LABEL, TaskKind

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)

WEIGHTS = "pytorch_model.bin"
WITHOUT_HEAD = "--without_head"
SEVERAL_LABELS = "--multi_label"
USAGE = (
    f"raykd easynlp import DIR OUT [{WITHOUT_HEAD}] [{SEVERAL_LABELS}], where DIR holds config.json and {WEIGHTS}, or is "
    "another .bin file there"
)
POOLED = ("bert", "albert")
DENSE_HEAD = ("roberta", "xlm-roberta", "camembert")
META_KD = ("domain_embedding.", "corrupt_dense.", "domain_classifier.", "fit_dense.")
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")
OLD_NAMES = {"LayerNorm.gamma": "LayerNorm.weight", "LayerNorm.beta": "LayerNorm.bias"}
TOKENIZER_FILES = ("vocab.txt", "vocab.json", "merges.txt", "tokenizer.json", "spiece.model", "sentencepiece.bpe.model",
                   "tokenizer_config.json", "special_tokens_map.json")  # fmt: skip


def import_command(arguments: Sequence[str]) -> None:
    """Run the command. Raises RaykdError."""
    paths = [expand_home(argument) for argument in arguments if not argument.startswith("--")]
    options = [argument for argument in arguments if argument.startswith("--")]
    if len(paths) != 2 or not {WITHOUT_HEAD, SEVERAL_LABELS}.issuperset(options):
        raise ConfigError(f"import was given {' '.join(arguments) or 'nothing'}; use: {USAGE}")
    kind = MULTI_LABEL if SEVERAL_LABELS in options else None
    import_checkpoint(paths[0], paths[1], with_head=WITHOUT_HEAD not in options, kind=kind)


def import_checkpoint(source: str, out: str, *, with_head: bool = True, kind: TaskKind | None = None) -> None:
    """Write the checkpoint at ``source`` as a Hugging Face folder at ``out``.

    ``kind`` is the kind of its task; by default the one that its own flags name, since the weights do not show it.

    Raises ConfigError for paths, ModelError when weights, configuration and vocabulary do not make a stock model, or its head
    is Meta-KD's and ``with_head`` asks for it.
    """
    folder, weights_file = _locate(source)
    if os.path.realpath(out) == os.path.realpath(folder):
        raise ConfigError(f"import would overwrite {out}; give another folder for the result")
    weights = _read_weights(weights_file)
    meta = any(name.startswith(META_KD) for name in weights)
    if meta and with_head:
        raise ModelError(
            f"{weights_file} is a Meta-KD model: its classifier reads relu(pooler), which no stock class of transformers "
            f"computes. {WITHOUT_HEAD} imports the encoder, for training; for its logits use its own predictions as a TSV file"
        )
    with tempfile.TemporaryDirectory(prefix="raykd-import-") as staged:
        config = _stage(folder, Path(staged))
        if with_head:
            config["problem_type"] = (kind or _kind_of(folder)).problem_type
        model = _build(config, weights, labels=_labels(str(folder), weights) if with_head else None, name=str(weights_file))
        _save(model, staged, out)
    log.info("%s written%s", out, "" if with_head else ": encoder alone, its classifier will be new")


def _locate(source: str) -> tuple[Path, Path]:
    path = Path(source)
    file = path if path.is_file() else path / WEIGHTS
    if not file.is_file() or not (file.parent / "config.json").is_file():
        raise ConfigError(f"{source} is no EasyNLP checkpoint: {WEIGHTS} or config.json is not there; use: {USAGE}")
    return file.parent, file


def _read_weights(file: Path) -> dict[str, "Tensor"]:
    """Tensors by EasyNLP's names. ``weights_only`` makes a pickle that runs code an error."""
    import pickle

    import torch

    try:
        content = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise ModelError(f"{file} is not a file of weights alone: {str(error).splitlines()[0]}") from None
    if not isinstance(content, Mapping) or not any(name.startswith("backbone.") for name in content):
        raise ModelError(f"{file} holds no weights named backbone.*; it is not an EasyNLP text classifier")
    return {_new_name(name): tensor.float() for name, tensor in content.items() if not name.endswith(BUFFERS)}


def _new_name(name: str) -> str:
    for old, new in OLD_NAMES.items():
        name = name.replace(old, new)
    return name


def _stage(folder: Path, staged: Path) -> dict[str, Any]:
    """Copy configuration and tokenizer to a folder that transformers reads; returns the configuration."""
    config = dict(storage.read_json(str(folder / "config.json")))
    config.setdefault("model_type", "bert")  # EasyNLP's own older files lack it
    for name in ("num_labels", "id2label", "label2id", "architectures"):
        config.pop(name, None)
    storage.write_json(str(staged / "config.json"), config)
    for name in TOKENIZER_FILES:
        if (folder / name).is_file():
            shutil.copy(folder / name, staged / name)
    return config


def _kind_of(folder: Path) -> TaskKind:
    """Kind of task by the user-defined parameters in ``train_config.json``: the text of the flag, or EasyNLP's parsed form."""
    path = str(folder / TRAIN_CONFIG)
    if not storage.exists(path):
        return SINGLE_LABEL
    content = storage.read_json(path)
    given = content.get("user_defined_parameters") if isinstance(content, Mapping) else None
    if isinstance(given, str):
        return MULTI_LABEL if "multi_label=True" in given.split() else SINGLE_LABEL
    nested = given.get("app_parameters") if isinstance(given, Mapping) else None
    return MULTI_LABEL if isinstance(nested, Mapping) and nested.get("multi_label") is True else SINGLE_LABEL


def _labels(folder: str, weights: Mapping[str, "Tensor"]) -> tuple[str, ...]:
    if "classifier.weight" not in weights:
        raise ModelError(f"{folder} has no classifier.weight; {WITHOUT_HEAD} imports the encoder alone")
    count = len(weights["classifier.weight"])
    labels = read_mapping(folder) or tuple(str(index) for index in range(count))
    if len(labels) != count:
        raise ModelError(f"{folder}: label_mapping.json has {len(labels)} labels, but classifier.weight has {count} rows")
    return labels


def _build(config: Mapping[str, Any], weights: Mapping[str, "Tensor"], *, labels: Sequence[str] | None, name: str) -> Any:
    """The stock model with these weights; with ``labels`` a classifier, else the encoder."""
    import torch
    from transformers import AutoConfig, AutoModel, AutoModelForSequenceClassification

    kind = config["model_type"]
    if kind not in (*POOLED, *DENSE_HEAD):
        raise ModelError(f"{name} is a model of type {kind}; imported are {', '.join((*POOLED, *DENSE_HEAD))}")
    settings = AutoConfig.for_model(**config)
    if labels is None:
        model = AutoModel.from_config(settings, dtype=torch.float32)
        renamed = {key.removeprefix("backbone."): value for key, value in weights.items() if key.startswith("backbone.")}
    else:
        settings.id2label = dict(enumerate(labels))
        settings.label2id = {label: index for index, label in enumerate(labels)}
        model = AutoModelForSequenceClassification.from_config(settings, dtype=torch.float32)
        renamed = {_stock_name(key, model.base_model_prefix, dense=kind in DENSE_HEAD): value for key, value in weights.items()}
    _load(model, renamed, name)
    return model.eval()


def _stock_name(name: str, prefix: str, *, dense: bool) -> str:
    if name.startswith("classifier."):
        return name.replace("classifier.", "classifier.out_proj.", 1) if dense else name
    if dense and name.startswith("backbone.pooler.dense."):
        return name.replace("backbone.pooler.", "classifier.", 1)
    return name.replace("backbone.", f"{prefix}.", 1)


def _load(model: Any, weights: Mapping[str, "Tensor"], name: str) -> None:
    expected = {key: tuple(value.shape) for key, value in model.state_dict().items() if not key.endswith(BUFFERS)}
    found = {key: tuple(value.shape) for key, value in weights.items()}
    if expected != found:
        wrong = sorted(key for key in expected.keys() | found.keys() if expected.get(key) != found.get(key))
        raise ModelError(
            f"{name} does not fit config.json: {wrong[0]} is {found.get(wrong[0], 'absent')}, expected "
            f"{expected.get(wrong[0], 'none of that name')} ({len(wrong)} such weights)"
        )
    model.load_state_dict(weights, strict=False)


def _save(model: Any, staged: str, out: str) -> None:
    from raykd.models import load_tokenizer, save_classifier

    tokenizer = load_tokenizer(staged)
    upper = next((token for token in tokenizer.get_vocab() if token[0] != "[" and token != token.lower()), None)
    if upper is not None and getattr(tokenizer, "do_lower_case", False):
        log.warning("the vocabulary has words like %s, but the checkpoint does not keep that they are cased; its tokenizer "
                    "lower-cases, as in EasyNLP's own predictions", upper)  # fmt: skip
    save_classifier(model, tokenizer, out)
