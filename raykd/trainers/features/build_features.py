"""The parts of feature distillation on a worker, from their configuration."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from raykd.config.features import FeatureKDConfig, FeatureLossConfig, TeacherFeaturesConfig
from raykd.config.training import Precision
from raykd.data.tokenised_set import TokenisedSet
from raykd.models import load_classifier, model_digest, runs_unpadded, set_attention
from raykd.trainers.context import WorkerContext
from raykd.trainers.events import TrainingEvent
from raykd.trainers.features.compatibility import relation_heads
from raykd.trainers.features.encoder_outputs import expose_attention
from raykd.trainers.features.feature_kd import PROJECTIONS, FeatureKD, projections
from raykd.trainers.features.layer_map import layer_map
from raykd.trainers.features.live_teacher import LiveTeacher, RowVectors
from raykd.trainers.features.loss_terms import FeatureLosses, attention_terms, term_weights
from raykd.trainers.features.stored_states import CachedTeacher, open_store
from raykd.trainers.objective import Objective

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StudentTask:
    """The training that features are distilled in, as far as its teacher depends on it."""

    model: Any
    """The student."""
    labels: tuple[str, ...]
    rows: TokenisedSet
    epochs: int
    worker: WorkerContext
    precision: Precision
    report: Callable[[TrainingEvent], None] | None = None
    """Receives events of the training."""


def build_feature_kd(config: FeatureKDConfig, task: StudentTask, logit_objective: Objective | None) -> FeatureKD:
    """Build the objective; new projections are drawn from torch's generator.

    Raises ModelError when the teacher does not open or a model's attention cannot be replaced, ConfigError when layers do not
    fit.
    """
    teacher = load_teacher(config, task)
    losses = feature_losses(config, student=task.model.config, teacher=teacher.config)
    live = live_teacher(teacher, losses, task)
    widths = task.model.config.hidden_size, teacher.config.hidden_size
    auxiliary: dict[str, nn.Module] = {PROJECTIONS: projections(*widths, losses.projected)}
    cached = cached_teacher(live, config, task)
    return FeatureKD(teacher=cached, losses=losses, auxiliary=auxiliary, logit_objective=logit_objective)


def load_teacher(config: TeacherFeaturesConfig, task: StudentTask) -> Any:
    """Load the trained teacher onto the worker's device, its weights in the precision that it computes in."""
    teacher = load_classifier(config.teacher, labels=task.labels, new_head=False)
    set_attention(teacher, unpadded=runs_unpadded(task.model), name=config.teacher)
    # frozen weights in fp32 would be converted again in every forward pass: autocast keeps copies of trained weights alone
    return teacher.to(task.worker.device, torch.bfloat16 if task.precision == "bf16" else torch.float32)


def feature_losses(config: FeatureLossConfig, *, student: Any, teacher: Any) -> FeatureLosses:
    """The losses for the configurations of two models. Raises ConfigError when layers or relation heads do not fit."""
    return FeatureLosses(
        weights=term_weights(config),
        layers=layer_map(config.layers, student=student.num_hidden_layers, teacher=teacher.num_hidden_layers),
        relation_heads=relation_heads(config.relation_heads, student=student, teacher=teacher) if config.relation_weight else 1,
    )


def live_teacher(
    teacher: Any, losses: FeatureLosses, task: StudentTask, *, row_vectors: RowVectors | None = None
) -> LiveTeacher:
    """A teacher whose attention, and the student's, is exposed where a loss needs it. Raises ModelError where it cannot be."""
    heads = task.model.config.num_attention_heads, teacher.config.num_attention_heads
    if on_attention := attention_terms(losses.weights):
        expose_attention(teacher, name="the teacher", terms=on_attention)
        expose_attention(task.model, name="the student", terms=on_attention)
    if "scores" in losses.features and heads[0] != heads[1]:
        log.info("%d and %d attention heads: scores are compared after averaging over heads", *heads)
    return LiveTeacher(teacher, losses.layers, losses.features, average_heads=heads[0] != heads[1], row_vectors=row_vectors)


def cached_teacher(
    live: LiveTeacher, config: TeacherFeaturesConfig, task: StudentTask, *, identity: tuple[object, ...] = ()
) -> CachedTeacher:
    """The teacher with a store of its targets; ``identity`` identifies whatever else than the model its targets depend on."""
    about = (
        model_digest(config.teacher), identity, live.layers, live.average_heads, tuple(sorted(live.features)), task.precision,
    )  # fmt: skip
    return CachedTeacher(
        live=live,
        store=open_store(task.rows, about, shared=config.share_states),
        uses=task.epochs * config.trainings,
        workers=task.worker.world_size,
        source=config.teacher_states,
        report=task.report,
    )
