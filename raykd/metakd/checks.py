"""What can be seen to be wrong with a teacher and a student before anything starts."""

from raykd.config import MetaKDConfig
from raykd.config.metakd import Layers
from raykd.data.tokenizer import load_row_tokenizer
from raykd.errors import ConfigError
from raykd.metakd.layers import layer_map
from raykd.metrics.single_label_metrics import metric_names
from raykd.models import load_config


def check_metrics(config: MetaKDConfig) -> None:
    """Whether evaluations have the metrics that weights are chosen by. Raises ConfigError."""
    student, known = config.student, metric_names(len(config.labels))
    last = (
        {"intermediate": student.intermediate.training}
        if student.mode == "single"
        else {"prediction": student.prediction.training}
    )
    chosen = {"teacher": config.teacher.training} | {f"student.{stage}": training for stage, training in last.items()}
    for name, training in chosen.items():
        if training.metric not in known:
            raise ConfigError(f"{name}.training.metric = {training.metric!r}: evaluations have {', '.join(known)}")


def check_pair(teacher: str, student: str, *, layers: Layers, cache: str, names: tuple[str, str]) -> None:
    """Whether a student can learn from what goes on inside a teacher; ``names`` are what the two are called.

    Raises ConfigError for layers that cannot be mapped and for two tokenizers, ModelError for folders that do not open.
    """
    depths = [int(load_config(model).num_hidden_layers) for model in (teacher, student)]
    layer_map(layers, teacher=depths[0], student=depths[1])
    tokenizers = [load_row_tokenizer(model, cache).fingerprint for model in (teacher, student)]
    if tokenizers[0] != tokenizers[1]:
        raise ConfigError(
            f"{names[0]} = {teacher} and {names[1]} = {student} have different tokenizers: hidden states and "
            "attention of one token cannot be compared; take models with one vocabulary"
        )
