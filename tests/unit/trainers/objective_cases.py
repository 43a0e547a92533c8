"""Objectives of every kind, and small models and batches to compute them on."""

from collections.abc import Sequence
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import Tensor, nn

from raykd.data.batch import Batch, collate
from raykd.task_kinds import task_kind
from raykd.trainers.fine_tune import FineTune
from raykd.trainers.logit_kd import DecoupledKD, DistKD, MseKD, PseudoLabel, VanillaKD
from raykd.trainers.objective import Objective, ObjectiveOutput

ROWS, CLASSES, VOCABULARY = 7, 3, 40

SINGLE_LABEL: list[Objective] = [
    FineTune(),
    VanillaKD(temperature=3.0, alpha=0.3),
    VanillaKD(temperature=4.0, final_temperature=1.0, alpha=1.0, final_alpha=0.2).at(0.6),
    MseKD(alpha=0.7),
    PseudoLabel(alpha=0.6, min_confidence=0.7),
    DecoupledKD(temperature=2.0, alpha=0.4, target_weight=0.5, non_target_weight=4.0),
    DistKD(alpha=0.6, intra_weight=0.0),
]

MANY = task_kind("multi_label")
MULTI_LABEL: list[Objective] = [
    FineTune(MANY),
    VanillaKD(kind=MANY, temperature=2.0, alpha=0.4),
    PseudoLabel(kind=MANY, min_confidence=0.7),
]
WHOLE_BATCH: list[Objective] = [DistKD(alpha=0.6)]
ROW_WISE = [*SINGLE_LABEL, *MULTI_LABEL]
EVERY = [*ROW_WISE, *WHOLE_BATCH]
KINDS = pytest.mark.parametrize("objective", EVERY, ids=lambda objective: type(objective).__name__)


class BagOfTokens(nn.Module):
    """Mean of token embeddings to logits: the smallest classifier that padding must not enter."""

    def __init__(self) -> None:
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.embedding = nn.Embedding(VOCABULARY, 8)
            self.head = nn.Linear(8, CLASSES)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> SimpleNamespace:
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        weights = mask / mask.sum(1, keepdim=True)
        return SimpleNamespace(logits=self.head((self.embedding(input_ids) * weights[..., None]).sum(1)))


class Constant(nn.Module):
    """A model that always says the same."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, **_: Tensor) -> SimpleNamespace:
        return SimpleNamespace(logits=self.logits)


def make_table(objective: Objective, *, rows: int = ROWS, seed: int = 1) -> pa.Table:
    """Rows of 1 to 12 tokens with teacher logits, and labels as the objective wants them."""
    draw = np.random.default_rng(seed)
    tokens = [draw.integers(1, VOCABULARY, draw.integers(1, 13)).tolist() for _ in range(rows)]
    logits = pa.array((3 * draw.standard_normal(rows * CLASSES)).astype(np.float32))
    if objective.kind is MANY:
        labels = pa.FixedSizeListArray.from_arrays(pa.array(draw.integers(0, 2, rows * CLASSES), pa.int32()), CLASSES)
    else:
        labels = pa.array(draw.integers(0, CLASSES, rows), pa.int32())
    return pa.table(
        {
            "shard": pa.array([0] * rows, pa.int32()),
            "row": pa.array(range(rows), pa.int64()),
            "input_ids": pa.array(tokens, pa.list_(pa.int32())),
            "label": labels,
            "logits": pa.FixedSizeListArray.from_arrays(logits, CLASSES),
        }
    )


def make_batch(table: pa.Table, padded_length: int = 16) -> Batch:
    return collate(table, padded_length=padded_length, pad_token_id=0, with_token_types=False)


def gradients(model: nn.Module, losses: Sequence[Tensor]) -> dict[str, Tensor]:
    model.zero_grad()
    for loss in losses:
        loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}


def run(objective: Objective, table: pa.Table | None = None) -> ObjectiveOutput:
    return objective(BagOfTokens(), make_batch(make_table(objective) if table is None else table))


def replaced(batch: Batch, **fields: object) -> Batch:
    return Batch(**{**vars(batch), **fields})  # type: ignore[arg-type]  # values of several types
