"""Scores a model on prepared rows, every row once whatever the number of workers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from raykd.data.batch import Batch, collate
from raykd.data.batch_plan import padded_length
from raykd.data.tokenised_set import TokenisedSet
from raykd.trainers.context import WorkerContext
from raykd.trainers.engines.base import Engine

Metrics = Callable[[NDArray[Any], NDArray[np.float32]], dict[str, float]]
"""From labels ``[N]`` and logits ``[N, C]`` to named figures."""


@dataclass(frozen=True)
class Evaluator:
    """Metrics of the engine's model on the validation rows; memory is one row group and the logits."""

    prepared: TokenisedSet
    context: WorkerContext
    metrics: Metrics
    max_length: int | None = None
    """Most tokens the model takes; none where nothing limits them."""
    batch_rows: int = 64
    """Rows per forward pass."""

    def __call__(self, engine: Engine) -> dict[str, float]:
        """Evaluate in eval mode and return to training mode; the same figures on every worker. *Collective.*"""
        engine.module.eval()
        labels, logits = self._score(engine)
        engine.module.train()
        gathered = self.context.gather((labels, logits))
        figures = None
        if self.context.is_first:
            figures = self.metrics(
                np.concatenate([part[0] for part in gathered]), np.concatenate([part[1] for part in gathered])
            )
        result: dict[str, float] = self.context.broadcast(figures)
        return result

    def _score(self, engine: Engine) -> tuple[NDArray[Any], NDArray[np.float32]]:
        labels, logits = [], []
        with torch.inference_mode():
            for batch in self._batches():
                with engine.autocast():
                    output = engine.module(**batch.to(engine.device).model_inputs()).logits
                keep = batch.valid
                logits.append(output.float().cpu()[keep].numpy())
                if batch.labels is None:
                    raise ValueError("rows without labels cannot be evaluated")
                labels.append(batch.labels[keep].numpy())
        return np.concatenate(labels), np.concatenate(logits)

    def _batches(self) -> Iterator[Batch]:
        """Batches of this worker: each one's rows are split evenly, so that all make the same number of forward passes."""
        for group in range(len(self.prepared.group_rows)):
            table = self.prepared.read_group(group)
            order = np.argsort(table.column("length").to_numpy(), kind="stable")
            rows = self.batch_rows * self.context.world_size
            for start in range(0, len(order), rows):
                yield self._batch(table, order[start : start + rows])

    def _batch(self, table: pa.Table, rows: NDArray[np.int64]) -> Batch:
        longest = int(table.column("length").to_numpy()[rows[-1]])
        mine = rows[self.context.rank :: self.context.world_size]
        return collate(
            table.take(pa.array(mine)),
            padded_length=padded_length(longest, self.max_length),
            pad_token_id=self.prepared.pad_token_id,
            padding_side=self.prepared.padding_side,
            with_token_types=self.prepared.has_token_types,
        )
