"""From a task to the objective it minimises. Builders of job kinds extend :func:`build_objective`; they are handed in."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from raykd.config import (
    CustomObjectiveConfig,
    DecoupledKDConfig,
    DistKDConfig,
    FineTuneConfig,
    MseKDConfig,
    ObjectiveConfig,
    VanillaKDConfig,
)
from raykd.config.features import FeatureKDConfig
from raykd.config.objectives import PseudoLabelConfig
from raykd.config.task_objective import TaskObjective
from raykd.config.training import Precision
from raykd.data.class_balance import balanced_weights, class_counts
from raykd.data.tokenised_set import TokenisedSet
from raykd.errors import ConfigError
from raykd.run.task import TrainTask
from raykd.task_kinds import TaskKind, task_kind
from raykd.trainers import fine_tune, logit_kd
from raykd.trainers.context import WorkerContext
from raykd.trainers.custom_objective import load_objective
from raykd.trainers.events import TrainingEvent
from raykd.trainers.features.build_features import StudentTask, build_feature_kd
from raykd.trainers.objective import Objective
from raykd.trainers.phases import PhasedObjective

LOGIT_OBJECTIVES: Mapping[type, type[logit_kd.LogitDistillation]] = {
    VanillaKDConfig: logit_kd.VanillaKD,
    MseKDConfig: logit_kd.MseKD,
    PseudoLabelConfig: logit_kd.PseudoLabel,
    DecoupledKDConfig: logit_kd.DecoupledKD,
    DistKDConfig: logit_kd.DistKD,
}
"""Objective of each configuration that learns from stored logits; its fields are the objective's arguments."""


@dataclass(frozen=True)
class ObjectiveContext:
    """Everything that building an objective may need on a worker."""

    model: Any
    """The classifier that is trained."""
    rows: TokenisedSet
    """Training rows."""
    worker: WorkerContext
    precision: Precision
    report: Callable[[TrainingEvent], None]
    """Records an event of the training."""


BuildObjective = Callable[[TrainTask, ObjectiveContext], Objective]
"""A module-level function, which travels to the workers by reference."""


def build_objective(task: TrainTask, context: ObjectiveContext) -> Objective:
    """Build the objective of a task that every job kind may have. Raises ConfigError for one that needs another builder."""
    kind = task_kind(task.task_kind)
    if task.training.class_weights == "balanced":
        kind = kind.with_class_weights(balanced_weights(class_counts(context.rows)))
    if isinstance(task.objective, FeatureKDConfig):
        joined = task.objective.logit_objective
        logits = None if joined is None else objective_from_config(joined, kind)
        return build_feature_kd(task.objective, student_task(task, context), logits)
    first = objective_from_config(task.objective, kind)
    later = ((phase.start, objective_from_config(phase.objective, kind)) for phase in task.phases)
    return PhasedObjective(((0.0, first), *later)) if task.phases else first


def student_task(task: TrainTask, context: ObjectiveContext) -> StudentTask:
    """The part of a task and its context that feature distillation depends on."""
    return StudentTask(
        model=context.model,
        labels=task.labels,
        rows=context.rows,
        epochs=task.training.epochs,
        worker=context.worker,
        precision=context.precision,
        report=context.report,
    )


def objective_from_config(config: ObjectiveConfig | TaskObjective, kind: TaskKind) -> Objective:
    """Build the objective that a configuration names, for rows of a kind; its fields are the objective's arguments."""
    arguments = {**config.model_dump(exclude={"kind"}), "kind": kind}
    match config:
        case FineTuneConfig():
            return fine_tune.FineTune(kind)
        case _ if type(config) in LOGIT_OBJECTIVES:
            return LOGIT_OBJECTIVES[type(config)](**arguments)
        case CustomObjectiveConfig():
            return load_objective(config.target, config.arguments)
        case _:
            raise ConfigError(f"objective {config.kind!r} is not built here; hand in the builder of its job kind")
