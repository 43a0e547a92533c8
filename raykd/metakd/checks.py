"""Errors of a Meta-KD job that can be found before anything starts: models, metrics, and whether teacher and student match."""

from collections.abc import Sequence

from raykd.cluster import check_compile
from raykd.config import MetaKDConfig
from raykd.data.tokenizer import Text
from raykd.metakd.compat import refuse_different_heads
from raykd.metakd.student_start import check_student_start, stand_in
from raykd.models import check_sequence_length, check_unpadded, load_config, load_tokenizer, probe_classifier
from raykd.task_kinds import SINGLE_LABEL
from raykd.tracking import check_tracking
from raykd.trainers.features.compatibility import check_teacher_and_student


def check_meta_kd(config: MetaKDConfig, cache: str) -> None:
    """Check the models and metrics of a job; ``cache`` keeps tokenizers. Raises ModelError, ConfigError."""
    teacher, student = config.teacher.model, config.student.model
    models = dict.fromkeys((config.weights.encoder or teacher, teacher, student))
    if config.compute.unpadded:
        check_unpadded(models)
    for model in models:
        check_sequence_length(load_config(model), config.sequence_length, model=model)
        load_tokenizer(model)
    _check_metrics(config)
    check_tracking(config.tracking.kind)
    check_compile(config.compute)
    losses = config.student.intermediate
    if config.compat:  # it reads eager attention, which every model has
        losses = losses.model_copy(update={"attention_weight": 0.0})
    names = ("teacher.model", "student.model")
    pairs = config.data is not None and config.data.second_sequence is not None
    check_student_start(config)
    with stand_in(config) as shape:
        check_teacher_and_student(
            teacher, shape, losses=losses, cache=cache, names=names, pairs=pairs, unpadded=config.compute.unpadded
        )
        if config.compat:
            refuse_different_heads(load_config(shape), load_config(teacher))


def probe_models(config: MetaKDConfig, rows: Sequence[Text]) -> None:
    """Run every model forward and backward on the first training rows. Raises ModelError, ConfigError."""
    stages = (config.student.intermediate.training, config.student.prediction.training)
    with stand_in(config) as student:
        checkpointed = {config.teacher.model: config.teacher.training.gradient_checkpointing}
        checkpointed[student] = checkpointed.get(student, False) or any(stage.gradient_checkpointing for stage in stages)
        for model, checkpoints in checkpointed.items():
            probe_classifier(
                model,
                rows,
                labels=config.labels,
                sequence_length=config.sequence_length,
                gradient_checkpointing=checkpoints,
                name="the student" if model == student != config.student.model else model,
            )


def _check_metrics(config: MetaKDConfig) -> None:
    """Raise ConfigError unless evaluations have the metrics that select weights."""
    student = config.student
    selected = (
        {"intermediate": student.intermediate.training}
        if student.mode == "single"
        else {"prediction": student.prediction.training}
    )
    chosen = {"teacher": config.teacher.training} | {f"student.{stage}": training for stage, training in selected.items()}
    for name, training in chosen.items():
        SINGLE_LABEL.check_metric(f"{name}.training.metric", training.metric, len(config.labels))
