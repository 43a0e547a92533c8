"""What can be seen to be wrong with a teacher and a student before anything starts."""

from raykd.config import MetaKDConfig
from raykd.errors import ConfigError
from raykd.task_kinds import SINGLE_LABEL


def check_metrics(config: MetaKDConfig) -> None:
    """Whether evaluations have the metrics that weights are chosen by. Raises ConfigError."""
    student, known = config.student, SINGLE_LABEL.metric_names(len(config.labels))
    last = (
        {"intermediate": student.intermediate.training}
        if student.mode == "single"
        else {"prediction": student.prediction.training}
    )
    chosen = {"teacher": config.teacher.training} | {f"student.{stage}": training for stage, training in last.items()}
    for name, training in chosen.items():
        if training.metric is not None and training.metric not in known:
            raise ConfigError(f"{name}.training.metric = {training.metric!r}: evaluations have {', '.join(known)}")
