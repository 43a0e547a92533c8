"""From the configuration to what a task minimises."""

from raykd.config import DecoupledKD, DistKD, FineTune, MseKD, ObjectiveConfig, VanillaKD
from raykd.trainers import distill, supervised
from raykd.trainers.objective import Objective


def build_objective(config: ObjectiveConfig, *, multi_label: bool = False) -> Objective:
    """The objective a configuration names; its fields are the objective's arguments.

    Where rows have any number of labels, fine-tuning and vanilla distillation are those of each label by itself.
    """
    arguments = config.model_dump(exclude={"kind"})
    match config:
        case FineTune():
            return supervised.MultiLabelFineTune() if multi_label else supervised.FineTune()
        case VanillaKD():
            return distill.MultiLabelKD(**arguments) if multi_label else distill.VanillaKD(**arguments)
        case MseKD():
            return distill.MseKD(**arguments)
        case DecoupledKD():
            return distill.DecoupledKD(**arguments)
        case DistKD():
            return distill.DistKD(**arguments)
