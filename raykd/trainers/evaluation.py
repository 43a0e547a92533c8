"""Scores a model on the validation set, every row once whatever the number of workers."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from raykd.data.batch import Batch
from raykd.data.length_batches import length_batches
from raykd.data.padding import EXACT, PaddingRule
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import DataError
from raykd.trainers.context import WorkerContext
from raykd.trainers.engines.engine import Engine

Metrics = Callable[[NDArray[Any], NDArray[np.float32]], dict[str, float]]
"""From labels ``[N]`` and logits ``[N, C]`` to metrics by name."""


@dataclass(frozen=True)
class Evaluator:
    """Metrics of the engine's model on the validation set; memory holds one row group and the logits."""

    prepared: TokenisedSet
    context: WorkerContext
    metrics: Metrics
    padding: PaddingRule = EXACT
    """Padded lengths of the batches."""
    with_token_types: bool = False
    """Pass ``token_type_ids`` to the model."""
    unpadded: bool = False
    """The model runs without padding."""
    batch_rows: int = 64
    """Rows per forward pass."""

    def __call__(self, engine: Engine) -> dict[str, float]:
        """Evaluate in eval mode and return to training mode; the same metrics on every worker. *Collective.*"""
        engine.module.eval()
        labels, logits = self._score(engine)
        engine.module.train()
        gathered = self.context.gather((labels, logits))
        return self.context.on_first(
            lambda: self.metrics(
                np.concatenate([labels for labels, _ in gathered]), np.concatenate([logits for _, logits in gathered])
            )
        )

    def _score(self, engine: Engine) -> tuple[NDArray[Any], NDArray[np.float32]]:
        """Labels and logits of this worker's rows."""
        labels, logits, valid = [], [], []
        with torch.inference_mode():
            for batch in self._batches():
                if batch.labels is None:
                    raise DataError(f"rows of {self.prepared.path} have no labels; name their label column to evaluate on them")
                with engine.autocast():
                    output = engine.module(**batch.to(engine.device).model_inputs()).logits
                logits.append(output.float())  # read at the end, so that the host does not wait for each batch
                labels.append(batch.labels)
                valid.append(batch.valid)
        scored = torch.cat(valid)
        return torch.cat(labels)[scored].numpy(), torch.cat(logits).cpu()[scored].numpy()

    def _batches(self) -> Iterator[Batch]:
        for group in range(len(self.prepared.group_rows)):
            _, batches = length_batches(
                self.prepared,
                group,
                batch_rows=self.batch_rows,
                with_token_types=self.with_token_types,
                padding=self.padding,
                unpadded=self.unpadded,
                columns=("label",) if "label" in self.prepared.column_names else (),
                rank=self.context.rank,
                world_size=self.context.world_size,
            )
            yield from batches
