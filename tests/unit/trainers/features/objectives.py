"""Objectives of feature distillation over small encoders."""

from typing import Any

import torch

from raykd.trainers.auxiliary import Composite
from raykd.trainers.features.feature_kd import PROJECTIONS, FeatureKD, projections
from tests.unit.metakd.features import make_losses, make_model, make_teacher


def made(*, logit_objective: Any = None, architecture: str = "bert", **settings: Any) -> tuple[Composite, FeatureKD]:
    """A student of width 8 and 2 heads, a teacher of width 16 and 4 heads."""
    student = make_model(hidden=8, architecture=architecture)
    teacher = make_model(hidden=16, layers=4, heads=4, seed=2, architecture=architecture)
    losses = make_losses(student, teacher, **settings)
    live = make_teacher(student, teacher, losses)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        auxiliary = {PROJECTIONS: projections(8, 16, losses.projected)}
    objective = FeatureKD(teacher=live, losses=losses, auxiliary=auxiliary, logit_objective=logit_objective)
    return Composite(student, objective.trainable), objective
