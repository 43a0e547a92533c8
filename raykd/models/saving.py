"""Model folders that raykd writes: complete or not at all."""

import json
import tempfile
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raykd.data import storage
from raykd.errors import ResourceError
from raykd.models.folders import first_line, quiet_transformers
from raykd.models.inputs import fit_tokenizer

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel


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
