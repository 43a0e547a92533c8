"""From the configuration to what a task minimises."""

from raykd.config import DecoupledKD, DistKD, FineTune, MseKD, ObjectiveConfig, VanillaKD
from raykd.trainers import distill, supervised
from raykd.trainers.objective import Objective


def build_objective(config: ObjectiveConfig) -> Objective:
    """The objective a configuration names; its fields are the objective's arguments."""
    arguments = config.model_dump(exclude={"kind"})
    match config:
        case FineTune():
            return supervised.FineTune()
        case VanillaKD():
            return distill.VanillaKD(**arguments)
        case MseKD():
            return distill.MseKD(**arguments)
        case DecoupledKD():
            return distill.DecoupledKD(**arguments)
        case DistKD():
            return distill.DistKD(**arguments)
