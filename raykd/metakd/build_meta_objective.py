"""From a task to its objective, those of Meta-KD included: they bring modules and teachers of their own."""

import functools
import hashlib
import logging
from typing import Any

import torch
from torch import nn

from raykd.config.metakd import EasyNLPArithmetic, MetaDistillationObjective, MetaTeacherObjective, PredictionObjective
from raykd.data import storage
from raykd.data.tokenised_set import TokenisedSet
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.build_compat_objective import easynlp_distillation, easynlp_teacher
from raykd.metakd.compat import EasyNLPPrediction
from raykd.metakd.domain_head import DomainHead, load_domain_head
from raykd.metakd.layers import LayerMap, expose_scores, layer_map
from raykd.metakd.meta_distillation import PROJECTIONS, MetaDistillation, PredictionDistillation, projections
from raykd.metakd.meta_teacher import MetaTeacher
from raykd.metakd.records import Records, ThriftyTeacher
from raykd.metakd.state_files import SharedFiles, shared_folder
from raykd.metakd.targets import FeatureTeacher, LiveTeacher
from raykd.models import load_classifier, model_digest
from raykd.run.build_objective import ObjectiveContext, build_objective
from raykd.run.task import TrainTask, key_of
from raykd.trainers.objective import Objective

log = logging.getLogger(__name__)


def build_meta_objective(task: TrainTask, context: ObjectiveContext) -> Objective:
    """Build the objective of a Meta-KD task, or any other; new modules beside the model are drawn from torch's generator.

    Raises ModelError when a teacher does not open or hides its attention, ConfigError when layers do not fit.
    """
    model, rows, device = context.model, context.rows, context.worker.device
    match task.objective:
        case MetaTeacherObjective() as config:
            head = DomainHead(config.num_domains, model.config.hidden_size)
            if config.compat is not None:
                return easynlp_teacher(config, config.compat, head, rows)
            return MetaTeacher(head=head, **config.model_dump(exclude={"kind", "num_domains", "compat"}))
        case PredictionObjective() as config:
            return _prediction(config)
        case MetaDistillationObjective(compat=EasyNLPArithmetic() as compat) as config:
            return easynlp_distillation(config, compat, student=model, labels=task.labels, rows=rows, device=device)
        case MetaDistillationObjective() as config:
            teacher = _live_teacher(config, model, task.labels, device)
            about = (_identity(config), teacher.layers, teacher.mean_heads, teacher.with_scores, context.precision)
            records = _shared_records(rows, key_of(about)) if config.share_states else _records(rows.path, *about)
            thrifty = ThriftyTeacher(
                live=teacher,
                records=records,
                uses=task.training.epochs * config.trainings,
                workers=context.worker.world_size,
                source=config.teacher_states,
                report=context.report,
            )
            return _meta_distillation(config, model, thrifty, teacher)
        case _:
            return build_objective(task, context)


def _prediction(config: PredictionObjective) -> Objective:
    if config.compat is not None:
        return EasyNLPPrediction(temperature=config.temperature)
    return PredictionDistillation(**config.model_dump(exclude={"kind", "compat"}))


@functools.lru_cache(maxsize=1)
def _records(rows: str, *_teacher: object) -> Records:
    """Records of a teacher on some rows; kept until others are asked for, so that the trainings of a queue share them."""
    return Records(TokenisedSet.open(rows))


_SHARED: dict[tuple[str, str], Records] = {}
"""Records that other processes of this machine read too, by teacher and rows; of one teacher at a time."""


def _shared_records(rows: TokenisedSet, teacher: str) -> Records:
    """Kept for all rows of a teacher, until another teacher's are asked for."""
    if any(known != teacher for known, _ in _SHARED):
        leave_shared_records()
    if (teacher, rows.path) not in _SHARED:
        _SHARED[teacher, rows.path] = Records(rows, SharedFiles(shared_folder(key_of(teacher, rows.fingerprint))))
    return _SHARED[teacher, rows.path]


def leave_shared_records() -> None:
    """Let go of records that processes share: the last process that does takes them off the disk."""
    for records in _SHARED.values():
        records.close()
    _SHARED.clear()


def _identity(config: MetaDistillationObjective) -> str:
    """Hash of the teacher's weights and its domain head's."""
    head = storage.read_bytes(config.domain_head) if config.domain_head and storage.exists(config.domain_head) else b""
    return model_digest(config.teacher) + hashlib.blake2b(head, digest_size=16).hexdigest()


def _live_teacher(
    config: MetaDistillationObjective, student: Any, labels: tuple[str, ...], device: torch.device
) -> LiveTeacher:
    teacher = load_classifier(config.teacher, labels=labels, new_head=False)
    own, theirs = student.config, teacher.config
    heads = own.num_attention_heads, theirs.num_attention_heads
    if config.attention_weight:
        expose_scores(teacher, name=config.teacher)
        expose_scores(student, name="the student")
        if heads[0] != heads[1]:
            log.info("%d and %d attention heads: scores are compared after averaging over heads", *heads)
    layers: LayerMap = layer_map(config.layers, student=own.num_hidden_layers, teacher=theirs.num_hidden_layers)
    head: DomainHead | None = None
    if config.domain_loss_weight:
        path = config.domain_head or f"{config.teacher} ({DOMAIN_HEAD})"
        head = load_domain_head(path, num_domains=config.num_domains, width=theirs.hidden_size).to(device)
    return LiveTeacher(
        teacher.to(device), layers, head, with_scores=config.attention_weight > 0, mean_heads=heads[0] != heads[1]
    )


def _meta_distillation(
    config: MetaDistillationObjective, student: Any, teacher: FeatureTeacher, live: LiveTeacher
) -> MetaDistillation:
    width, encoder = student.config.hidden_size, live.model.config
    beside: dict[str, nn.Module] = {PROJECTIONS: projections(width, encoder.hidden_size)}
    if live.head is not None:
        beside[DOMAIN_HEAD] = DomainHead(config.num_domains, width)
    left = {"kind", "teacher", "domain_head", "num_domains", "layers", "teacher_states", "trainings", "share_states", "compat"}
    return MetaDistillation(teacher=teacher, layers=live.layers, beside=beside, **config.model_dump(exclude=left))
