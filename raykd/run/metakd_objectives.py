"""From a task's configuration to its objective, those of Meta-KD included: they bring modules and teachers of their own."""

import logging
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from raykd.config.metakd import MetaDistillationObjective, MetaTeacherObjective, PredictionObjective
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.distill import PROJECTIONS, LiveTeacher, MetaDistillation, PredictionDistillation, projections
from raykd.metakd.heads import DomainHead, load_domain_head
from raykd.metakd.layers import expose_scores, layer_map
from raykd.metakd.teacher import MetaTeacher
from raykd.models import load_classifier
from raykd.run.objectives import build_objective
from raykd.run.task import TaskObjective
from raykd.trainers.objective import Objective

log = logging.getLogger(__name__)


def build_task_objective(config: TaskObjective, *, model: Any, labels: Sequence[str], device: torch.device) -> Objective:
    """The objective of a task that trains ``model``; new modules beside it are drawn from torch's generator.

    Raises ModelError when a teacher does not open or hides its attention, ConfigError when layers do not fit.
    """
    match config:
        case MetaTeacherObjective():
            head = DomainHead(config.num_domains, model.config.hidden_size)
            return MetaTeacher(head=head, **config.model_dump(exclude={"kind", "num_domains"}))
        case PredictionObjective():
            return PredictionDistillation(**config.model_dump(exclude={"kind"}))
        case MetaDistillationObjective():
            return _meta_distillation(config, model, labels, device)
        case _:
            return build_objective(config)


def _meta_distillation(
    config: MetaDistillationObjective, student: Any, labels: Sequence[str], device: torch.device
) -> MetaDistillation:
    teacher = load_classifier(config.teacher, labels=labels, new_head=False)
    if config.attention_weight:
        expose_scores(teacher, name=config.teacher)
        expose_scores(student, name="the student")
        _tell_heads(student.config.num_attention_heads, teacher.config.num_attention_heads)
    own, theirs = student.config, teacher.config
    layers = layer_map(config.layers, student=own.num_hidden_layers, teacher=theirs.num_hidden_layers)
    beside: dict[str, nn.Module] = {PROJECTIONS: projections(own.hidden_size, theirs.hidden_size)}
    head: DomainHead | None = None
    if config.domain_loss_weight:
        path = config.domain_head or f"{config.teacher} ({DOMAIN_HEAD})"
        head = load_domain_head(path, num_domains=config.num_domains, width=theirs.hidden_size).to(device)
        beside[DOMAIN_HEAD] = DomainHead(config.num_domains, own.hidden_size)
    numbers = config.model_dump(exclude={"kind", "teacher", "domain_head", "num_domains", "layers"})
    return MetaDistillation(teacher=LiveTeacher(teacher.to(device), head), layers=layers, beside=beside, **numbers)


def _tell_heads(student: int, teacher: int) -> None:
    if student != teacher:
        log.info("%d and %d attention heads: scores are compared after averaging over heads", student, teacher)
