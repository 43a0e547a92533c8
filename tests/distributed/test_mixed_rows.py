"""Batches of labelled and unlabelled rows: gradients of one and two workers equal a sum over the rows computed by hand."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

from raykd.config import TorchEngineConfig
from raykd.data.batch import Batch
from raykd.data.join_sets import join_sets, join_sides
from raykd.data.planned_reader import ReadRequest
from raykd.data.step_stream import StepRows, local_feed
from raykd.data.tokenised_set import SourceFile
from raykd.trainers.engines.build_engine import build_engine
from raykd.trainers.logit_kd import VanillaKD
from raykd.trainers.step_batches import StepBatches
from tests.helpers import run_distributed
from tests.planned_set import write_set, write_side

BATCH, STEPS, ALPHA, T = 11, 4, 0.3, 2.0
Gradients = list[dict[str, Any]]
Folders = tuple[str, str]
"""The tokenised set, and its side table."""


class Classifier(nn.Module):
    """Mean of the token embeddings to two logits."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embedding = nn.Embedding(1100, 6)
        self.head = nn.Linear(6, 2)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> SimpleNamespace:
        mask = (torch.ones_like(input_ids) if attention_mask is None else attention_mask)[..., None]
        return SimpleNamespace(logits=self.head((self.embedding(input_ids) * mask).sum(1) / mask.sum(1)))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    """Labelled and unlabelled rows as one set, and their logits."""
    folder = tmp_path_factory.mktemp("mixed")
    source = (SourceFile("rows.tsv", 0, ""),)
    labelled = replace(write_set(folder / "labelled", (20, 7)), sources=source)
    unlabelled = replace(write_set(folder / "unlabelled", (30, 12), labelled=False), sources=source)
    members = [labelled, unlabelled]
    sides = [write_side(folder / "logits" / name, one) for name, one in zip("ab", members, strict=True)]
    joined = join_sets(members, labelled=1)
    side = join_sides(sides, members, joined, str(folder / "logits" / "all"))
    return joined.path, side.path


def batches(folders: Folders, rank: int, world: int) -> list[tuple[StepRows, list[Batch]]]:
    feed = local_feed(
        ReadRequest(
            folders[0],
            (folders[1],),
            seed=3,
            batch_size=BATCH,
            rank=rank,
            world=world,
            start_step=0,
            stop_step=STEPS,
        )
    )
    cut = StepBatches(world_size=world, pad_token_id=0, with_token_types=False, micro_batch_size=4)
    return [(rows, cut(rows)) for rows in feed]


def trained_gradients(folders: Folders) -> Gradients:
    """Averaged gradients of each step, as the trainer accumulates them."""
    rank, world = dist.get_rank(), dist.get_world_size()
    objective = VanillaKD(alpha=ALPHA, temperature=T)
    engine = build_engine(TorchEngineConfig(), Classifier(), weight_decay=0.0, precision="fp32", device=torch.device("cpu"))
    found = []
    for rows, cuts in batches(folders, rank, world):
        for number, batch in enumerate(cuts, start=1):
            loss = objective(engine.model, batch).per_row.sum() * world / rows.num_rows
            engine.accumulate(loss, boundary=number == len(cuts))
        engine.reduce_gradients()
        found.append({name: one.grad.numpy().copy() for name, one in engine.module.named_parameters()})
        engine.step(0.0, max_grad_norm=0.0)
    engine.close()
    return found


def gradients_by_hand(folders: Folders) -> tuple[Gradients, list[int]]:
    """Mean over the rows, one by one, of the row's own loss; and the labelled rows of each batch."""
    model, found, counts = Classifier(), [], []
    for rows, cuts in batches(folders, 0, 1):
        model.zero_grad()
        counts.append(0)
        for batch in cuts:
            assert batch.labelled is not None
            assert batch.labels is not None
            assert batch.teacher_logits is not None
            for row in range(len(batch.labelled)):
                student = model(batch.input_ids[row : row + 1], batch.attention_mask[row : row + 1]).logits[0]
                p, q = (F.softmax(logits / T, -1) for logits in (batch.teacher_logits[row], student))
                loss = T**2 * (p * (p.log() - q.log())).sum()
                if batch.labelled[row]:
                    loss = ALPHA * loss - (1 - ALPHA) * F.log_softmax(student, -1)[batch.labels[row]]
                    counts[-1] += 1
                (loss / rows.num_rows).backward()
        found.append({name: one.grad.numpy().copy() for name, one in model.named_parameters()})
    return found, counts


@pytest.mark.parametrize("world", [1, 2])
def test_gradients_equal_the_sum_over_labelled_and_unlabelled_rows(world: int, folders: Folders) -> None:
    expected, counts = gradients_by_hand(folders)
    assert 0 < sum(counts) < BATCH * STEPS
    assert any(0 < count < BATCH for count in counts), "batches of both"
    for rank in run_distributed(trained_gradients, world, folders):
        for step, ours in enumerate(rank):
            for name, gradient in ours.items():
                np.testing.assert_allclose(gradient, expected[step][name], rtol=2e-5, atol=2e-7, err_msg=f"{step} {name}")
