"""Loading of stock sequence classifiers, with a check of the loading report."""

import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raykd.data.tokenizer_files import holds_vocabulary, open_tokenizer
from raykd.errors import ModelError, list_values
from raykd.models.folders import check_weights, first_line, local_folder, quiet_transformers
from raykd.models.inputs import reads_last_token, set_padding_token
from raykd.models.model_code import import_model_code, without_collector
from raykd.task_kinds import TaskKind, write_task_kind

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

log = logging.getLogger(__name__)

SHOWN_KEYS = 4
NUMBERED_LAYER = re.compile(r"(^|\.)(layers?|h|blocks?)\.\d+\.")
"""A weight of one of an encoder's layers; heads of masked-language models have a ``layer_norm`` too."""


def load_config(path: str) -> Any:
    """The configuration of a model folder. Raises ModelError: none there, not readable, or a kind that needs remote code."""
    with local_folder(path) as folder:
        return open_config(folder, name=path)


def open_config(folder: Path, *, name: str) -> Any:
    """The configuration of a local folder, which errors call ``name``."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig

    if not (folder / "config.json").is_file():
        raise ModelError(f"{name} has no config.json; give a Hugging Face model folder")
    try:
        return AutoConfig.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except StrictDataclassError as error:  # its first line names the field, the next one the fault
        raise ModelError(f"config.json of {name} cannot be used: {' '.join(str(error).split())}") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelError(f"config.json of {name} cannot be used: {first_line(error)}") from error


def load_classifier(
    path: str,
    *,
    labels: Sequence[str],
    dropout: float | None = None,
    new_head: bool = True,
    kind: TaskKind | None = None,
) -> "PreTrainedModel":
    """``AutoModelForSequenceClassification`` in float32 with the given label names, in evaluation mode.

    Weights that the checkpoint lacks may only be a whole new classifier head (with the pooler, which masked-language-model
    checkpoints do not have); they are drawn from torch's global generator, so seed it first. A checkpoint that has a head
    must have been trained for these labels in this order; generic names (``LABEL_0``) take the given ones.
    ``dropout`` replaces every dropout probability of the model; ``new_head`` false refuses a model without a trained head.
    ``kind`` is written into its configuration, whose problem type pipelines read; None keeps its own.

    Raises ModelError: no folder, no safetensors, weights missing or of another shape, other labels, no head though needed.
    """
    with local_folder(path) as folder:
        check_weights(folder)
        config = open_config(folder, name=path)
        own_labels = label_names(config)
        _set_labels(config, labels)
        if kind is not None:
            write_task_kind(config, kind)
        _set_dropout(config, dropout)
        model, report = _open_model(folder, config, name=path)
        _take_padding_token(model, folder, name=path)
    fresh_head = _check_report(report, model, name=path, own=own_labels, wanted=labels)
    if fresh_head and not new_head:
        raise ModelError(f"{path} has no trained classifier head, its logits would be random; fine-tune the model first")
    if not fresh_head:
        _check_labels(own_labels, labels, name=path)
    _apply_dropout(model, dropout)
    return model


def _take_padding_token(model: "PreTrainedModel", folder: Path, *, name: str) -> None:
    """Set the padding token from the tokenizer where config.json has none, or the classifier finds the last token by it."""
    if getattr(model.config, "pad_token_id", None) is not None and not reads_last_token(model):
        return
    if not holds_vocabulary(file.name for file in folder.iterdir()):
        return
    pad_token_id = int(open_tokenizer(str(folder), name=name).pad_token_id)
    if pad_token_id != getattr(model.config, "pad_token_id", None):
        log.info("%s: padding token %d, from its tokenizer", name, pad_token_id)
        set_padding_token(model, pad_token_id)


def _open_model(folder: Path, config: Any, *, name: str) -> tuple["PreTrainedModel", dict[str, Any]]:
    import_model_code()
    import torch
    from transformers import AutoModelForSequenceClassification

    try:
        with quiet_transformers(), without_collector():
            return AutoModelForSequenceClassification.from_pretrained(  # type: ignore[no-any-return]  # an untyped class method
                str(folder), config=config, dtype=torch.float32, use_safetensors=True, ignore_mismatched_sizes=True,
                output_loading_info=True, local_files_only=True, trust_remote_code=False,
            )  # fmt: skip
    except ImportError as error:  # what config.json asks for and this machine lacks
        raise ModelError(
            f"{name} needs a package that is not installed: {first_line(error)}; install it, or take the setting that asks for "
            "it out of config.json"
        ) from error
    except (OSError, ValueError) as error:
        raise ModelError(f"{name} does not open as a sequence classifier: {first_line(error)}") from error


def label_names(config: Any) -> tuple[str, ...]:
    """Label names of a model configuration in the order of their ids."""
    return tuple(str(name) for _, name in sorted(config.id2label.items()))


def _set_labels(config: Any, labels: Sequence[str]) -> None:
    config.num_labels = len(labels)
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: index for index, name in enumerate(labels)}
    # otherwise transformers guesses regression or multi-label from the labels of the first batch
    config.problem_type = config.problem_type or "single_label_classification"


def _set_dropout(config: Any, dropout: float | None) -> None:
    if dropout is None:
        return
    for name, value in config.to_dict().items():
        if "dropout" in name and (value is None or (isinstance(value, int | float) and not isinstance(value, bool))):
            setattr(config, name, dropout)


def _apply_dropout(model: "nn.Module", dropout: float | None) -> None:
    from torch import nn

    if dropout is not None:  # the few that are not in the configuration
        for module in model.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout


def _check_report(
    report: Mapping[str, Any], model: "nn.Module", *, name: str, own: Sequence[str], wanted: Sequence[str]
) -> bool:
    """True when the classifier head is new. Raises ModelError when other weights are missing or of another shape."""
    prefix = f"{model.base_model_prefix}."
    other_shape = {key: shapes for key, *shapes in report["mismatched_keys"]}
    if any(not key.startswith(prefix) for key in other_shape):
        raise ModelError(
            f"{name} has a classifier for {len(own)} labels ({list_values(own)}), but the data has {len(wanted)} "
            f"({list_values(wanted)}); name the model's labels (data.labels), or start from "
            "a model without a classifier"
        )
    if other_shape:
        key, (stored, expected) = next(iter(sorted(other_shape.items())))
        raise ModelError(f"weights of {name} do not fit its config.json: {key} is {tuple(stored)}, expected {tuple(expected)}")
    missing = set(report["missing_keys"])
    head = _new_head(missing, model, prefix)
    poolers = {key for key in missing if key.startswith(f"{prefix}pooler.")} if head else set()
    lacking = sorted(missing - head - poolers)
    if lacking:
        raise ModelError(_missing_message(name, lacking, report["unexpected_keys"]))
    _log_report(name, missing, report["unexpected_keys"])
    return bool(head)


def _new_head(missing: set[str], model: "nn.Module", prefix: str) -> set[str]:
    """The missing weights that make up whole modules outside the encoder; a partly missing module is not a new one."""
    outside: dict[str, set[str]] = {}
    for key in model.state_dict():
        if not key.startswith(prefix):
            outside.setdefault(key.split(".")[0], set()).add(key)
    return {key for keys in outside.values() if keys <= missing for key in keys}


def _missing_message(name: str, lacking: Sequence[str], unexpected: Sequence[str]) -> str:
    shown = ", ".join(lacking[:SHOWN_KEYS]) + (f" and {len(lacking) - SHOWN_KEYS} more" if len(lacking) > SHOWN_KEYS else "")
    extra = f"; its file holds instead {', '.join(sorted(unexpected)[:SHOWN_KEYS])}" if unexpected else ""
    return (
        f"{name} lacks weights that its config.json asks for: {shown}{extra}. They would be random; give a folder whose "
        "weights and config.json belong together"
    )


def _log_report(name: str, missing: set[str], unexpected: Sequence[str]) -> None:
    if missing:
        log.info("%s: new weights for %s", name, ", ".join(sorted(missing)))
    unused = sorted(key for key in unexpected if NUMBERED_LAYER.search(key))
    if unused:
        log.warning("%s: %d weights of its encoder are not used (config.json asks for fewer layers?), for example %s",
                    name, len(unused), unused[0])  # fmt: skip


def _check_labels(own: Sequence[str], wanted: Sequence[str], *, name: str) -> None:
    if tuple(own) == tuple(wanted) or len(own) == len(wanted) == 1:  # one output has no order to confuse
        return
    if tuple(own) == tuple(f"LABEL_{index}" for index in range(len(wanted))):
        log.info("%s names its labels %s; taken as %s in this order", name, list(own), list(wanted))
        return
    raise ModelError(
        f"{name} was trained for the labels {list_values(own)}, but the data has {list_values(wanted)}; give the "
        "model's in its order (data.labels), or start from a model without a classifier"
    )
