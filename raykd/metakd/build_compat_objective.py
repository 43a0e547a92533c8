"""Objectives with EasyNLP's arithmetic, from their configuration."""

from typing import Any

import torch
from torch import nn

from raykd.config.metakd_objectives import EasyNLPArithmetic, MetaDistillationObjective, MetaTeacherObjective
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.compat import EasyNLPDistillation, EasyNLPMetaTeacher, Padding, fit_module, refuse_different_heads
from raykd.metakd.domain_head import DomainHead, load_domain_head
from raykd.models import load_classifier
from raykd.trainers.features.feature_kd import PROJECTIONS
from raykd.trainers.features.layer_map import layer_map


def easynlp_teacher(
    config: MetaTeacherObjective, compat: EasyNLPArithmetic, head: DomainHead, rows: TokenisedSet
) -> EasyNLPMetaTeacher:
    """The meta-teacher's: domains permuted within the batch, weights on the whole sum."""
    return EasyNLPMetaTeacher(
        head=head,
        domain_loss_weight=config.domain_loss_weight,
        domain_loss="permuted",
        weigh_domain_loss=True,
        negative_weights=True,
        padding=Padding(compat.sequence_length, rows.pad_token_id),
    )


def easynlp_distillation(
    config: MetaDistillationObjective,
    compat: EasyNLPArithmetic,
    *,
    student: Any,
    labels: tuple[str, ...],
    rows: TokenisedSet,
    device: torch.device,
) -> EasyNLPDistillation:
    """Build intermediate-layer distillation.

    Raises ModelError when the teacher has no domain head, ConfigError when the heads differ in number.
    """
    teacher: Any = load_classifier(config.teacher, labels=labels, new_head=False).to(device)
    own, theirs = student.config, teacher.config
    refuse_different_heads(own, theirs)
    for model in (student, teacher):
        model.set_attn_implementation("eager")  # the one that hands out probabilities after dropout
    path = config.domain_head or f"{config.teacher} ({DOMAIN_HEAD})"
    width = own.hidden_size
    auxiliary: dict[str, nn.Module] = {
        PROJECTIONS: fit_module(width, theirs.hidden_size),
        DOMAIN_HEAD: DomainHead(config.num_domains, width),
    }
    return EasyNLPDistillation(
        teacher=teacher,
        head=load_domain_head(path, num_domains=config.num_domains, width=theirs.hidden_size).to(device),
        fit=nn.Linear(theirs.hidden_size, theirs.hidden_size).to(device),
        layers=layer_map(config.layers, student=own.num_hidden_layers, teacher=theirs.num_hidden_layers),
        auxiliary=auxiliary,
        domain_loss_weight=config.domain_loss_weight,
        padding=Padding(compat.sequence_length, rows.pad_token_id),
    )
