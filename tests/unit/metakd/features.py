"""Two small encoders, their rows, and the pieces of a meta-distillation over them."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from raykd.data.batch import Batch, collate
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.domain_head import DomainHead
from raykd.metakd.layers import expose_scores, layer_map
from raykd.metakd.meta_distillation import PROJECTIONS, MetaDistillation, projections
from raykd.metakd.targets import LiveTeacher
from raykd.models import build_classifier
from raykd.trainers.composite import Composite

VOCABULARY, DOMAINS, ROWS = 40, 3, 6


def make_batch(*, padded_length: int = 16, rows: int = ROWS, weights: list[float] | None = None) -> Batch:
    """Rows of 3 to 12 tokens with labels, logits, weights and domains."""
    draw = np.random.default_rng(3)
    tokens = [draw.integers(5, VOCABULARY, length).tolist() for length in draw.integers(3, 13, ROWS)]
    logits = pa.array(draw.standard_normal(2 * ROWS).astype(np.float32))
    table = pa.table(
        {
            "shard": pa.array([0] * ROWS, pa.int32()),
            "row": pa.array(range(ROWS), pa.int64()),
            "input_ids": pa.array(tokens, pa.list_(pa.int32())),
            "label": pa.array(draw.integers(0, 2, ROWS), pa.int32()),
            "logits": pa.FixedSizeListArray.from_arrays(logits, 2),
            "weight": pa.array(weights or draw.random(ROWS).tolist(), pa.float32()),
            "domain_id": pa.array([number % DOMAINS for number in range(ROWS)], pa.int32()),
        }
    ).slice(0, rows)
    return collate(table, padded_length=padded_length, pad_token_id=0, with_token_types=False)


def make_model(*, hidden: int = 16, layers: int = 2, heads: int = 2, seed: int = 1, architecture: str = "bert") -> Any:
    model = build_classifier(
        architecture, vocab_size=VOCABULARY, hidden=hidden, layers=layers, heads=heads, labels=("a", "b"), seed=seed,
        positions=32, dropout=0.0,
    )  # fmt: skip
    return model.eval()


def make_head(width: int, seed: int) -> DomainHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DomainHead(DOMAINS, width, dropout=0.0)


def make_distillation(student: Any, teacher: Any, *, head: bool = True, **settings: Any) -> tuple[Composite, MetaDistillation]:
    """The objective of a student and a teacher, and what it trains."""
    for model in (student, teacher):
        expose_scores(model, name="a model")
    widths = student.config.hidden_size, teacher.config.hidden_size
    depths = {"student": student.config.num_hidden_layers, "teacher": teacher.config.num_hidden_layers}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        beside: dict[str, nn.Module] = {PROJECTIONS: projections(*widths)}
    if head:
        beside[DOMAIN_HEAD] = make_head(widths[0], seed=8)
    layers = layer_map("uniform", **depths)
    mean_heads = student.config.num_attention_heads != teacher.config.num_attention_heads
    live = LiveTeacher(teacher, layers, make_head(widths[1], seed=9) if head else None, mean_heads=mean_heads)
    given = {"domain_loss_weight": 0.5 if head else 0.0, **settings}
    objective = MetaDistillation(teacher=live, layers=layers, beside=beside, **given)
    return Composite(student, objective.trainable), objective


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
