"""Two small encoders, their rows, and the pieces of a meta-distillation over them."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from raykd.data.batch import Batch, collate
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.domain_head import DomainHead
from raykd.metakd.meta_distillation import DOMAIN, DomainKnowledge, MetaDistillation
from raykd.models import ModelShape, build_classifier
from raykd.trainers.auxiliary import Composite
from raykd.trainers.features.encoder_outputs import expose_attention
from raykd.trainers.features.feature_kd import PROJECTIONS, projections
from raykd.trainers.features.layer_map import layer_map
from raykd.trainers.features.live_teacher import LiveTeacher
from raykd.trainers.features.loss_terms import FeatureLosses
from raykd.trainers.gradient_norms import GradientNormProbe
from raykd.trainers.objective import Objective

VOCABULARY, DOMAINS, ROWS = 40, 3, 6


def make_batch(
    *, padded_length: int = 16, rows: int = ROWS, weights: list[float] | None = None, unpadded: bool = False
) -> Batch:
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
    return collate(table, padded_length=padded_length, pad_token_id=0, with_token_types=False, unpadded=unpadded)


def make_model(*, hidden: int = 16, layers: int = 2, heads: int = 2, seed: int = 1, architecture: str = "bert") -> Any:
    shape = ModelShape(
        architecture=architecture, vocab_size=VOCABULARY, hidden=hidden, layers=layers, heads=heads, positions=32, dropout=0.0
    )
    model = build_classifier(shape, labels=("a", "b"), seed=seed)
    return model.eval()


def make_head(width: int, seed: int) -> DomainHead:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return DomainHead(DOMAINS, width, dropout=0.0)


def make_losses(
    student: Any, teacher: Any, *, layers: Any = "uniform", relation_heads: int = 2, **weights: float
) -> FeatureLosses:
    """Losses of weight 1 each, but for the relation, unless given as ``hidden=0.5``."""
    depths = {"student": student.config.num_hidden_layers, "teacher": teacher.config.num_hidden_layers}
    given = {"embedding": 1.0, "hidden": 1.0, "attention": 1.0, **weights}
    return FeatureLosses(given, layer_map(layers, **depths), relation_heads)


def make_teacher(student: Any, teacher: Any, losses: FeatureLosses, row_vectors: Any = None) -> LiveTeacher:
    for model in (student, teacher):
        expose_attention(model, name="a model", terms=["attention"])
    average = student.config.num_attention_heads != teacher.config.num_attention_heads
    return LiveTeacher(teacher, losses.layers, losses.features, average_heads=average, row_vectors=row_vectors)


def make_distillation(
    student: Any, teacher: Any, *, head: bool = True, weights: Mapping[str, float] | None = None, **settings: Any
) -> tuple[Composite, MetaDistillation]:
    """The objective of a student and a teacher, and what it trains; ``weights`` are those of the feature losses."""
    losses = make_losses(student, teacher, **(weights or {}))
    widths = student.config.hidden_size, teacher.config.hidden_size
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        auxiliary: dict[str, nn.Module] = {PROJECTIONS: projections(*widths, (*losses.projected, DOMAIN))}
    if head:
        auxiliary[DOMAIN_HEAD] = make_head(widths[0], seed=8)
    live = make_teacher(student, teacher, losses, DomainKnowledge(make_head(widths[1], seed=9)) if head else None)
    given = {"domain_loss_weight": 0.5 if head else 0.0, **settings}
    objective = MetaDistillation(teacher=live, losses=losses, auxiliary=auxiliary, **given)
    return Composite(student, objective.trainable), objective


def term_norms(objective: Objective, model: Composite, *, unpadded: bool = False) -> Tensor:
    """Gradient norms of the objective's terms, as the trainer measures them."""
    probe = GradientNormProbe(model)
    return torch.stack(probe.term_norms(objective(probe, make_batch(unpadded=unpadded)).terms))


def gradients(model: nn.Module, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters() if parameter.grad is not None}
