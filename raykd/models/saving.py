"""Model folders that raykd writes: trained classifiers, and small new ones built from a configuration."""

import json
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from raykd.data import storage
from raykd.errors import ResourceError
from raykd.models.folders import first_line, quiet_transformers
from raykd.models.inputs import fit_tokenizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

Architecture = Literal["bert", "distilbert", "roberta"]


def save_classifier(
    model: "PreTrainedModel", tokenizer: Any, folder: str, *, state: "Mapping[str, Tensor] | None" = None
) -> None:
    """Write a Hugging Face folder (config.json, model.safetensors, tokenizer files), complete or not at all.

    ``state`` replaces the model's own weights (name -> full tensor), for models whose weights are split over workers or
    whose best weights are not the current ones. ``folder`` is local or remote; what is there is replaced.
    Raises ResourceError when it cannot be written.
    """
    with replaced_folder(folder) as target:
        _write(model, tokenizer, target, state)


@contextmanager
def replaced_folder(folder: str) -> Iterator[str]:
    """A local folder to create and write, which replaces ``folder`` (local or remote) at the end of the block, or not at all.

    Raises ResourceError when it cannot be written.
    """
    if "://" in folder:
        with tempfile.TemporaryDirectory(prefix="raykd-model-") as local:
            with _write_errors(folder):
                yield local
            storage.upload_dir(local, folder)
        return
    target = Path(folder)
    aside = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}")
    try:
        with _write_errors(folder):
            yield str(aside)
        if target.exists():
            storage.remove(_backup_of(folder))
            storage.rename_dir(folder, _backup_of(folder))
        storage.rename_dir(str(aside), folder)
        storage.remove(_backup_of(folder))
    finally:
        storage.remove(str(aside))


def _backup_of(folder: str) -> str:
    """Temporary path of a folder's old content while the new content is moved into place."""
    return str(Path(folder).with_name(f".{Path(folder).name}.before"))


def restore_classifier(folder: str) -> None:
    """Restore the old model after a save that was interrupted between the removal of the old and the arrival of the new one."""
    if "://" not in folder and not storage.exists(folder) and storage.exists(_backup_of(folder)):
        storage.rename_dir(_backup_of(folder), folder)


def _write(model: "PreTrainedModel", tokenizer: Any, folder: str, state: "Mapping[str, Tensor] | None") -> None:
    weights = None
    if state is not None:
        weights = {name: tensor.detach().cpu().contiguous() for name, tensor in state.items()}
    fit_tokenizer(tokenizer, model)
    with quiet_transformers():
        model.save_pretrained(folder, state_dict=weights)
    _write_labels(model.config, Path(folder))
    tokenizer.save_pretrained(folder)


@contextmanager
def _write_errors(folder: str) -> Iterator[None]:
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        raise ResourceError(
            f"cannot write the model folder {folder}: {first_line(error)}; free space there or choose another storage"
        ) from error


def _write_labels(config: Any, folder: Path) -> None:
    """Add the labels to config.json where transformers leaves them out (LABEL_0 and LABEL_1): BART's default is three."""
    file = folder / "config.json"
    content = json.loads(file.read_text(encoding="utf-8"))
    if "id2label" not in content:
        labels = {"id2label": config.id2label, "label2id": config.label2id}
        file.write_text(json.dumps({**content, **labels}, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def build_classifier(
    architecture: Architecture,
    *,
    vocab_size: int,
    hidden: int,
    layers: int,
    heads: int,
    labels: Sequence[str],
    seed: int,
    positions: int = 128,
    dropout: float = 0.1,
    pad_token_id: int = 0,
    initializer_range: float = 0.02,
) -> "PreTrainedModel":
    """A new classifier with random weights that depend on ``seed`` alone; the feed-forward layers are four times as wide.

    ``positions`` counts tokens a row may have (RoBERTa's two extra rows are added); ``initializer_range`` is the standard
    deviation of new weights. torch's global generator is left as it was.
    """
    import torch
    from transformers import AutoModelForSequenceClassification

    config = _new_config(
        architecture, vocab_size=vocab_size, hidden=hidden, layers=layers, heads=heads, positions=positions,
        dropout=dropout, pad_token_id=pad_token_id, initializer_range=initializer_range,
    )  # fmt: skip
    config.id2label = dict(enumerate(labels))
    config.label2id = {name: index for index, name in enumerate(labels)}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)


def _new_config(
    architecture: Architecture, *, vocab_size: int, hidden: int, layers: int, heads: int, positions: int, dropout: float,
    pad_token_id: int, initializer_range: float,
) -> Any:  # fmt: skip
    from transformers import BertConfig, DistilBertConfig, RobertaConfig

    if architecture == "distilbert":
        return DistilBertConfig(
            vocab_size=vocab_size, dim=hidden, hidden_dim=4 * hidden, n_layers=layers, n_heads=heads,
            max_position_embeddings=positions, dropout=dropout, attention_dropout=dropout, seq_classif_dropout=dropout,
            pad_token_id=pad_token_id, initializer_range=initializer_range,
        )  # fmt: skip
    roberta = architecture == "roberta"
    kind, extra = (RobertaConfig, pad_token_id + 1) if roberta else (BertConfig, 0)
    return kind(
        vocab_size=vocab_size, hidden_size=hidden, intermediate_size=4 * hidden, num_hidden_layers=layers,
        num_attention_heads=heads, max_position_embeddings=positions + extra, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout, pad_token_id=pad_token_id, type_vocab_size=1 if roberta else 2,
        initializer_range=initializer_range,
    )  # fmt: skip
