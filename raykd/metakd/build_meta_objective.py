"""Objectives of Meta-KD's tasks, with their own modules and teachers; every other task has run's."""

import hashlib
from typing import Any

from torch import nn

from raykd.config.metakd_objectives import (
    EasyNLPArithmetic,
    MetaDistillationObjective,
    MetaTeacherObjective,
    PredictionObjective,
)
from raykd.data import storage
from raykd.data.side_tables import SideTable
from raykd.metakd import DOMAIN_HEAD
from raykd.metakd.build_compat_objective import easynlp_distillation, easynlp_teacher
from raykd.metakd.compat import EasyNLPPrediction
from raykd.metakd.domain_head import DomainHead, load_domain_head
from raykd.metakd.meta_distillation import DOMAIN, DomainKnowledge, MetaDistillation, PredictionDistillation
from raykd.metakd.meta_teacher import MetaTeacher
from raykd.metakd.prototypes import count_negative_weights
from raykd.run.build_objective import ObjectiveContext, build_objective, student_task
from raykd.run.task import TrainTask
from raykd.trainers.events import Warned
from raykd.trainers.features.build_features import (
    StudentTask,
    cached_teacher,
    feature_losses,
    live_teacher,
    load_teacher,
)
from raykd.trainers.features.feature_kd import PROJECTIONS, projections
from raykd.trainers.objective import Objective


def build_meta_objective(task: TrainTask, context: ObjectiveContext) -> Objective:
    """Build the objective of any task, including Meta-KD's; auxiliary modules are initialised from torch's generator.

    Raises ModelError when a teacher does not open or hides its attention, ConfigError when layers do not fit.
    """
    model, rows, device = context.model, context.rows, context.worker.device
    match task.objective:
        case MetaTeacherObjective() as config:
            head = DomainHead(config.num_domains, model.config.hidden_size, dropout=_head_dropout(task, model.config))
            if config.compat is not None:
                return easynlp_teacher(config, config.compat, head, rows)
            _report_negative_weights(task, context)
            return MetaTeacher(head=head, **config.model_dump(exclude={"kind", "num_domains", "compat"}))
        case PredictionObjective() as config:
            return _prediction(config)
        case MetaDistillationObjective(compat=EasyNLPArithmetic() as compat) as config:
            return easynlp_distillation(config, compat, student=model, labels=task.labels, rows=rows, device=device)
        case MetaDistillationObjective() as config:
            return _meta_distillation(config, student_task(task, context))
        case _:
            return build_objective(task, context)


def _head_dropout(task: TrainTask, model: Any) -> float:
    """Dropout of the domain head: the training's, else 0.1; with ``compat`` the hidden dropout of the model, as in EasyNLP."""
    if task.training.dropout is not None:
        return task.training.dropout
    compat = isinstance(task.objective, MetaTeacherObjective) and task.objective.compat is not None
    return float(getattr(model, "hidden_dropout_prob", 0.1)) if compat else 0.1


def _report_negative_weights(task: TrainTask, context: ObjectiveContext) -> None:
    """Warn of instance weights below 0, which the meta-teacher counts as 0."""
    if not context.worker.is_first:
        return
    negative, total = count_negative_weights([SideTable.open(path) for path in task.side_tables])
    if negative:
        message = f"{negative} of {total} instance weights are below 0 (negative cosines) and count as 0 in the loss"
        context.report(Warned(step=0, message=message))


def _prediction(config: PredictionObjective) -> Objective:
    if config.compat is not None:
        return EasyNLPPrediction(temperature=config.temperature)
    return PredictionDistillation(**config.model_dump(exclude={"kind", "compat"}))


def _meta_distillation(config: MetaDistillationObjective, task: StudentTask) -> MetaDistillation:
    teacher = load_teacher(config, task)
    losses = feature_losses(config, student=task.model.config, teacher=teacher.config)
    widths = task.model.config.hidden_size, teacher.config.hidden_size
    knowledge = _domain_knowledge(config, task, width=widths[1]) if config.domain_loss_weight else None
    live = live_teacher(teacher, losses, task, row_vectors=knowledge)
    names = (*losses.projected, *([DOMAIN] if knowledge else []))
    auxiliary: dict[str, nn.Module] = {PROJECTIONS: projections(*widths, names)}
    if knowledge is not None:
        auxiliary[DOMAIN_HEAD] = DomainHead(config.num_domains, widths[0])
    own = ("domain_loss_weight", "soft_weight", "temperature", "hard_weight", "expertise", "expertise_on_domain")
    return MetaDistillation(
        teacher=cached_teacher(live, config, task, identity=(_head_digest(config),)),
        losses=losses,
        auxiliary=auxiliary,
        **config.model_dump(include=set(own)),
    )


def _domain_knowledge(config: MetaDistillationObjective, task: StudentTask, *, width: int) -> DomainKnowledge:
    path = config.domain_head or f"{config.teacher} ({DOMAIN_HEAD})"
    return DomainKnowledge(load_domain_head(path, num_domains=config.num_domains, width=width).to(task.worker.device))


def _head_digest(config: MetaDistillationObjective) -> str:
    """Hash of the weights of the teacher's domain head."""
    head = storage.read_bytes(config.domain_head) if config.domain_head and storage.exists(config.domain_head) else b""
    return hashlib.blake2b(head, digest_size=16).hexdigest()
