"""A model folder that answers texts: its tokenizer, its weights or an exported file, and the settings of its training."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from raykd.data import storage
from raykd.data.tokenizer import RowTokenizer, Text
from raykd.data.tokenizer_files import open_tokenizer
from raykd.errors import ConfigError, ModelError
from raykd.extras import require_extra
from raykd.models import label_names, load_config, local_folder, max_sequence_length, model_digest
from raykd.models.model_settings import ModelSettings, read_settings
from raykd.models.onnx import Forward
from raykd.report.exports import ExportFormat, export_path, read_exports
from raykd.serve.token_batches import token_batches
from raykd.task_kinds import TaskKind, task_kind

Format = Literal["torch", "onnx", "openvino"]
DEFAULT_LENGTH = 128
"""Tokens of a row where the model folder has no settings."""
TOKEN_BUDGET = 4096
"""Padded tokens of one forward pass."""
Inputs = Mapping[str, NDArray[np.int64]]


@dataclass(frozen=True)
class ModelDescription:
    """Everything about a model but its weights: what its outputs mean and how texts are cut."""

    folder: str
    labels: tuple[str, ...]
    task: str
    """Name of the task kind."""
    settings: ModelSettings
    sequence_length: int
    """Tokens that a text is cut to."""
    digest: str
    """Hash of configuration and weights."""

    @staticmethod
    def read(folder: str) -> "ModelDescription":
        """Describe a model folder. Raises ModelError when it holds no model."""
        from raykd.task_kinds import task_kind_of_model

        config, settings = load_config(folder), read_settings(folder)
        limit = max_sequence_length(config)
        wanted = settings.sequence_length or DEFAULT_LENGTH
        return ModelDescription(
            folder=folder,
            labels=tuple(label_names(config)),
            task=task_kind_of_model(config).name,
            settings=settings,
            sequence_length=wanted if limit is None else min(wanted, limit),
            digest=model_digest(folder),
        )

    @cached_property
    def kind(self) -> TaskKind:
        """Meaning of the outputs."""
        return task_kind(self.task)

    def scaled(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Logits ``[N, C]`` divided by the model's temperature."""
        return np.asarray(logits, np.float64) / self.settings.temperature

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Softmax, sigmoid of each label, or the numbers of a regression, ``[N, C]``; calibrated."""
        return self.kind.probabilities(self.scaled(logits))

    def confidence(self, logits: NDArray[np.float32]) -> NDArray[np.float64] | None:
        """Calibrated probability of each row's answer, ``[N]``; None for a regression."""
        return self.kind.confidence(self.scaled(logits))


@dataclass(frozen=True)
class TokenRow:
    """A text as tokens."""

    ids: NDArray[np.int32]
    types: NDArray[np.uint8] | None
    truncated: bool
    """True when the text was longer than the model's rows."""


class ServedModel:
    """A loaded model. Not safe for several threads at once."""

    def __init__(self, description: ModelDescription, tokenizer: RowTokenizer, forward: Forward) -> None:
        self.description = description
        self._tokenizer = tokenizer
        self._forward = forward

    @staticmethod
    def load(folder: str, *, form: Format = "torch", int8: bool = False, threads: int = 1) -> "ServedModel":
        """Load a model folder. Raises ModelError, and ConfigError when the exported file is absent or of another model."""
        description = ModelDescription.read(folder)
        with local_folder(folder) as local:
            tokenizer = RowTokenizer.take(open_tokenizer(str(local), name=folder), model_type=load_config(folder).model_type)
            forward = _torch_forward(folder, threads) if form == "torch" else _exported_forward(folder, form, int8, threads)
        model = ServedModel(description, tokenizer, forward)
        width = model.logits(model.encode(["a"])).shape[1]
        if width != len(description.labels):
            raise ModelError(f"{folder} gives {width} outputs, but its config.json has {len(description.labels)} labels")
        return model

    def encode(self, texts: Sequence[Text]) -> list[TokenRow]:
        """Texts as tokens, cut as in training."""
        length = self.description.sequence_length
        found = self._tokens(texts, length + 1)
        long = [index for index, row in enumerate(found) if len(row.ids) > length]
        cut = self._tokens([texts[index] for index in long], length)
        for index, row in zip(long, cut, strict=True):
            found[index] = TokenRow(row.ids, row.types, truncated=True)
        return found

    def _tokens(self, texts: Sequence[Text], length: int) -> list[TokenRow]:
        if not texts:
            return []
        encoded = self._tokenizer.encode(texts, sequence_length=length)
        ends = np.cumsum(encoded.lengths)[:-1]
        ids = np.split(encoded.input_ids.flatten().to_numpy(), ends)
        if encoded.token_type_ids is None:
            return [TokenRow(one, None, truncated=False) for one in ids]
        types = np.split(encoded.token_type_ids.flatten().to_numpy(), ends)
        return [TokenRow(one, kind, truncated=False) for one, kind in zip(ids, types, strict=True)]

    def logits(self, rows: Sequence[TokenRow]) -> NDArray[np.float32]:
        """Logits ``[N, C]`` in the order of the rows."""
        return self.score(rows)[0]

    def score(self, rows: Sequence[TokenRow], *, budget: int = TOKEN_BUDGET) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Logits ``[N, C]`` in the order of the rows, and the number of rows in each one's forward pass, ``[N]``.

        Forward passes have at most ``budget`` padded tokens.
        """
        found = np.empty((len(rows), len(self.description.labels)), np.float32)
        sizes = np.empty(len(rows), np.int64)
        for batch in token_batches([len(row.ids) for row in rows], budget):
            logits = self._forward(self._padded([rows[index] for index in batch]))
            if logits.shape[1] != found.shape[1]:
                found = np.empty((len(rows), logits.shape[1]), np.float32)
            found[batch], sizes[batch] = logits, len(batch)
        return found, sizes

    def _padded(self, rows: Sequence[TokenRow]) -> Inputs:
        longest = max(len(row.ids) for row in rows)
        shape = len(rows), longest
        ids = np.full(shape, self._tokenizer.pad_token_id, np.int64)
        mask, types = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for place, row in enumerate(rows):
            size = len(row.ids)
            span = slice(longest - size, longest) if self._tokenizer.padding_side == "left" else slice(0, size)
            ids[place, span], mask[place, span] = row.ids, 1
            if row.types is not None:
                types[place, span] = row.types
        return {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}


def _torch_forward(folder: str, threads: int) -> Forward:
    import torch

    from raykd.freed_memory import keep_freed_memory
    from raykd.models import load_classifier, takes_token_types

    keep_freed_memory()
    torch.set_num_threads(threads)
    classifier = load_classifier(folder, labels=label_names(load_config(folder)), new_head=False).eval()
    names = ("input_ids", "attention_mask", *(["token_type_ids"] if takes_token_types(classifier) else []))

    def forward(inputs: Inputs) -> NDArray[np.float32]:
        with torch.inference_mode():
            logits: Any = classifier(**{name: torch.from_numpy(inputs[name]) for name in names}).logits
        return np.asarray(logits.float().numpy())

    return forward


def exported_file(folder: str, form: ExportFormat, *, int8: bool) -> str:
    """Path of a model's exported file. Raises ConfigError when it is absent, or was made from another model."""
    require_extra("export" if form == "onnx" else form, f"--format {form}")
    file = export_path(folder, form, int8=int8)
    command = f"raykd export {folder} --format {form}{' --int8' if int8 else ''}"
    if not storage.exists(file):
        raise ConfigError(f"there is no {file}; make it with: {command}")
    name = file.rpartition("/")[2]
    if not any(one.file.endswith(f"/{name}") for one in read_exports(folder)):
        raise ConfigError(f"{file} was not exported from the model in {folder}; make it again with: {command}")
    return file


def _exported_forward(folder: str, form: ExportFormat, int8: bool, threads: int) -> Forward:
    from raykd.models.exported_file import open_exported

    name = exported_file(folder, form, int8=int8).rpartition("/")[2]
    with storage.local_dir(storage.join(folder, form)) as local:
        return open_exported(storage.join(local, name), threads=threads)
