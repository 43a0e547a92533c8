"""Scoring of row groups with one model at a time; the same code in a Ray actor and without Ray."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from raykd import models
from raykd.config.training import PrecisionChoice
from raykd.data.batch import Batch
from raykd.data.folds import Fold
from raykd.data.length_batches import length_batches
from raykd.data.padding import padding_on
from raykd.data.parquet_files import PartInfo
from raykd.data.side_tables import ROW_ID, logits_array, write_part
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ModelError
from raykd.freed_memory import keep_freed_memory
from raykd.trainers.precision import resolve_precision, without_tf32


@dataclass(frozen=True)
class ScoreJob:
    """A trained classifier, the rows it is to score, and the folder of the side table that comes out."""

    model: str
    """Model folder or hub name."""
    prepared: str
    """Prepared set, made with this model's tokenizer."""
    output: str
    """Folder of the side table; what is there is replaced."""
    only: Fold | None = None
    """Rows to score; the others get NaN. ``None`` scores all."""
    batch_rows: int | None = None
    """Rows of one forward pass; None leaves it to the scoring."""


@dataclass(frozen=True)
class ScoreItem:
    """A unit of work of an actor: consecutive row groups of one job, one part of its table; or a share of one group."""

    job: int
    first_group: int
    groups: int
    share: int = 0
    shares: int = 1
    """Above 1: only batches ``share``, ``share + shares``, ... of the group, which are those of the whole group."""


@dataclass(frozen=True, eq=False)
class ScoredItem:
    """A finished item, and the precision it was computed in."""

    item: ScoreItem
    precision: str
    device: str
    seconds: float
    """Time of the scoring, the loading of the model left out."""


@dataclass(frozen=True)
class ScoredPart(ScoredItem):
    """An item of whole row groups: the part that was written."""

    part: PartInfo

    @property
    def rows(self) -> int:
        """Number of rows."""
        return self.part.rows


@dataclass(frozen=True, eq=False)
class ScoredShare(ScoredItem):
    """An item of some batches of a row group: the output itself."""

    positions: NDArray[np.int64]
    """Positions of its rows in the group, ``[n]``."""
    outputs: NDArray[np.float32]
    """Their outputs, ``[n, width]``."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.positions)


class Scorer:
    """Holds one model at a time and scores row groups with it. Subclass to compute something else than logits."""

    column = "logits"
    """Column of the output."""

    def __init__(
        self,
        jobs: Sequence[ScoreJob],
        *,
        threads: int,
        batch_rows: int,
        precision: PrecisionChoice,
        use_gpu: bool,
        unpadded: bool = False,
    ) -> None:
        self._jobs = jobs
        self._unpadded = unpadded
        self._batch_rows = batch_rows
        self._device = torch.device("cuda" if use_gpu else "cpu")
        self.precision = resolve_precision(precision, self._device)
        self._loaded: tuple[tuple[str, Any], torch.nn.Module] | None = None
        keep_freed_memory()
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    def __call__(self, item: ScoreItem) -> ScoredPart | ScoredShare:
        """Score the item's row groups and write them as one part, or a share. Raises ModelError, DataError, ResourceError."""
        job = self._jobs[item.job]
        prepared = TokenisedSet.open(job.prepared)
        model = self._model(job, prepared)
        begin = time.perf_counter()
        if item.shares > 1:
            positions, outputs = self._score_rows(model, job, prepared, item.first_group, share=(item.share, item.shares))
            seconds = time.perf_counter() - begin
            return ScoredShare(item, self.precision, self._device.type, seconds, positions, outputs)
        groups = range(item.first_group, item.first_group + item.groups)
        part = write_part(job.output, item.first_group, (self._score_group(model, job, prepared, group) for group in groups))
        return ScoredPart(item, self.precision, self._device.type, time.perf_counter() - begin, part)

    def _model(self, job: ScoreJob, prepared: TokenisedSet) -> torch.nn.Module:
        key = (job.model, prepared.labels)
        if self._loaded is None or self._loaded[0] != key:
            self._loaded = None  # free the old model before the new one is loaded: memory holds one
            labels = prepared.labels or models.label_names(models.load_config(job.model))
            model = self.load(job, labels)
            models.set_attention(model, unpadded=self._unpadded and self.classifies(job), name=job.model)
            self._loaded = (key, model.to(self._device).eval())
        return self._loaded[1]

    def load(self, job: ScoreJob, labels: Sequence[str]) -> torch.nn.Module:
        """The model of a job."""
        loaded: torch.nn.Module = models.load_classifier(job.model, labels=labels, new_head=False)
        return loaded

    def classifies(self, job: ScoreJob) -> bool:
        """True for a job whose model is an encoder, which may run without padding."""
        del job
        return True

    def forward(self, model: torch.nn.Module, batch: Batch) -> Tensor:
        """Output for each row of a batch, ``[B, width]`` float32."""
        return forward(model, batch)

    def outputs(
        self, model: torch.nn.Module, job: ScoreJob, prepared: TokenisedSet, group: int, batches: Iterator[Batch]
    ) -> list[Tensor]:
        """Output of each batch of a row group."""
        del job, prepared, group  # for subclasses whose output depends on more than the batch
        return [self.forward(model, batch.to(self._device)) for batch in batches]

    def _score_group(self, model: torch.nn.Module, job: ScoreJob, prepared: TokenisedSet, group: int) -> pa.Table:
        names = prepared.read_group(group, ROW_ID)
        chosen = None if job.only is None else np.flatnonzero(job.only.members(group, names))
        if chosen is not None and not len(chosen):
            nothing = np.empty((0, len(models.label_names(model.config))), np.float32)
            return group_table(names, self.column, chosen, nothing)
        return group_table(names, self.column, *self._score_rows(model, job, prepared, group, chosen=chosen))

    def _score_rows(
        self,
        model: torch.nn.Module,
        job: ScoreJob,
        prepared: TokenisedSet,
        group: int,
        *,
        chosen: NDArray[np.int64] | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        """Positions of a group's rows, ``[n]``, and their outputs, ``[n, width]``: those ``chosen``, or those of a share."""
        batch_rows = job.batch_rows or self._batch_rows
        positions, batches = group_batches(
            prepared, group, model=model, batch_rows=batch_rows, device=self._device, chosen=chosen, share=share
        )
        autocast = torch.autocast(self._device.type, torch.bfloat16, enabled=self.precision == "bf16")
        with torch.inference_mode(), without_tf32(), autocast:
            outputs = torch.cat(self.outputs(model, job, prepared, group, batches)).cpu().numpy()
        if not np.isfinite(outputs).all():
            raise ModelError(
                f"{job.model} gives {self.column} that are not finite on row group {group} of {job.prepared}; train it again"
            )
        return positions, outputs


def group_table(names: pa.Table, column: str, positions: NDArray[np.int64], outputs: NDArray[np.float32]) -> pa.Table:
    """The rows of a group with their outputs; NaN for those that have none."""
    table = np.full((len(names), outputs.shape[1]), np.nan, np.float32)
    table[positions] = outputs
    return names.append_column(column, logits_array(table))


def forward(model: torch.nn.Module, batch: Batch) -> Tensor:
    """Logits ``[B, C]`` float32 of one batch."""
    logits: Tensor = model(**batch.model_inputs()).logits.float()
    return logits


def group_batches(
    prepared: TokenisedSet,
    group: int,
    *,
    model: torch.nn.Module,
    batch_rows: int,
    device: torch.device,
    chosen: NDArray[np.int64] | None = None,
    share: tuple[int, int] = (0, 1),
) -> tuple[NDArray[np.int64], Iterator[Batch]]:
    """A row group's batches for a model, and the positions in the group of their rows, ``[n]``; ``chosen`` limits the rows.

    ``share`` as for :func:`~raykd.data.length_batches.length_batches`.
    """
    return length_batches(
        prepared,
        group,
        batch_rows=batch_rows,
        with_token_types=prepared.has_token_types and models.takes_token_types(model),
        padding=padding_on(device, limit=models.max_sequence_length(model.config)),
        unpadded=models.runs_unpadded(model),
        chosen=chosen,
        share=share,
    )
