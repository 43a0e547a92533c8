"""From the configuration to what a task minimises."""

from raykd.config import DecoupledKDConfig, DistKDConfig, FineTuneConfig, MseKDConfig, ObjectiveConfig, VanillaKDConfig
from raykd.trainers import fine_tune, logit_kd
from raykd.trainers.objective import Objective


def build_objective(config: ObjectiveConfig, *, multi_label: bool = False) -> Objective:
    """The objective a configuration names; its fields are the objective's arguments.

    Where rows have any number of labels, fine-tuning and vanilla distillation are those of each label by itself.
    """
    arguments = config.model_dump(exclude={"kind"})
    match config:
        case FineTuneConfig():
            return fine_tune.MultiLabelFineTune() if multi_label else fine_tune.FineTune()
        case VanillaKDConfig():
            return logit_kd.MultiLabelKD(**arguments) if multi_label else logit_kd.VanillaKD(**arguments)
        case MseKDConfig():
            return logit_kd.MseKD(**arguments)
        case DecoupledKDConfig():
            return logit_kd.DecoupledKD(**arguments)
        case DistKDConfig():
            return logit_kd.DistKD(**arguments)
