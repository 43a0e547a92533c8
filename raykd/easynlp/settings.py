"""From flags to raykd's settings: the only module that interprets flags. Nothing is started here."""

import logging
import math
from dataclasses import dataclass
from typing import Any

from raykd.config import FineTuneConfig, ObjectiveConfig, TrainingConfig, VanillaKDConfig
from raykd.config.training import Precision
from raykd.data import storage
from raykd.easynlp.columns import FileColumns, LogitsFile
from raykd.easynlp.flags import FlagValues, parse_flags
from raykd.easynlp.labels import read_labels
from raykd.easynlp.model_names import refuse_unimported, resolve_model
from raykd.easynlp.user_parameters import DEFAULTS, HINTS, parse_user_parameters
from raykd.errors import ConfigError
from raykd.task_kinds import MULTI_LABEL, SINGLE_LABEL, TaskKind

log = logging.getLogger(__name__)

SELECTION_METRIC = {SINGLE_LABEL: "accuracy", MULTI_LABEL: "macro_f1"}
"""Metric that EasyNLP selects weights by."""
BATCH_ROWS = 64
"""Rows per forward pass in scoring unless --micro_batch_size is given; its default of two would be slow."""
OUTPUT_COLUMNS = ("id", "output", "predictions", "probabilities", "logits")


@dataclass(frozen=True)
class Workers:
    """Number and devices of Ray workers."""

    count: int
    gpu: bool
    """Request a GPU for each; a cluster without GPUs uses CPUs."""


@dataclass(frozen=True)
class TrainSettings:
    """``--mode=train``."""

    train_file: str
    dev_file: str | None
    """Validation file; None keeps the last weights."""
    columns: FileColumns
    """Columns of ``--input_schema``, those of the logits file included."""
    logits: LogitsFile | None
    objective: ObjectiveConfig
    training: TrainingConfig
    model: str
    checkpoint_dir: str
    seed: int
    workers: Workers
    precision: Precision
    resume_from: str | None


@dataclass(frozen=True)
class ScoreSettings:
    """Common settings of ``--mode=evaluate`` and ``--mode=predict``."""

    file: str
    columns: FileColumns
    checkpoint_dir: str
    labels: tuple[str, ...] | None
    """Labels given by flag; None takes those of the checkpoint."""
    kind: TaskKind
    """Kind of task that the flags name; the checkpoint decides."""
    batch_rows: int
    workers: Workers
    precision: Precision


@dataclass(frozen=True)
class PredictSettings(ScoreSettings):
    """``--mode=predict``."""

    outputs: str
    output_columns: tuple[str, ...]
    append_columns: tuple[str, ...]


Settings = TrainSettings | ScoreSettings | PredictSettings


def read_settings(arguments: list[str]) -> tuple[Settings, FlagValues]:
    """The settings of a command line, and its flags. Raises ConfigError for invalid flags."""
    flags = parse_flags(arguments, hints=HINTS)
    user = parse_user_parameters(flags["user_defined_parameters"])
    kind = _task_kind(flags, user)
    mode = flags["mode"]
    if mode == "train":
        return _train(flags, user, kind), flags
    return (_predict(flags, kind) if mode == "predict" else _evaluate(flags, kind)), flags


def _task_kind(flags: FlagValues, user: dict[str, Any]) -> TaskKind:
    """Single-label or multi-label, by the application's name, or by the user parameter, which decides."""
    if flags["app_name"] == "text_match_two_tower":
        log.warning("--app_name=text_match_two_tower without two_tower=True is a single tower in EasyNLP, and here")
    many = user.get("multi_label", flags["app_name"] == "text_classify_multi_label")
    return MULTI_LABEL if many else SINGLE_LABEL


def _train(flags: FlagValues, user: dict[str, Any], kind: TaskKind) -> TrainSettings:
    tables = _tables(flags)
    objective, logits = _distillation(user)
    name = flags["label_name"]
    if name is None and getattr(objective, "alpha", 0.0) != 1.0:
        raise ConfigError("--label_name is missing: training needs labels, unless it distils with alpha=1")
    workers = _workers(flags)
    dev_file = tables[-1] if user.get("do_eval", DEFAULTS["do_eval"]) and name is not None else None
    if dev_file is not None and len(tables) == 1:
        log.warning("--tables=%s names one file, so the model is selected on its own training rows", tables[0])
    return TrainSettings(
        train_file=tables[0],
        dev_file=dev_file,
        columns=_columns(flags, label=name, labels=read_labels(flags["label_enumerate_values"]), kind=kind),
        logits=logits,
        objective=objective,
        training=_training(flags, workers, metric=SELECTION_METRIC[kind]),
        model=_model(user),
        checkpoint_dir=flags.required("checkpoint_dir"),
        seed=flags["random_seed"],
        workers=workers,
        precision=_precision(flags),
        resume_from=flags["resume_from_checkpoint"] or None,
    )


def _evaluate(flags: FlagValues, kind: TaskKind) -> ScoreSettings:
    return ScoreSettings(**_scoring(flags, label=flags.required("label_name"), kind=kind))


def _predict(flags: FlagValues, kind: TaskKind) -> PredictSettings:
    columns = _list(flags["output_schema"])
    for column in columns:
        if column not in OUTPUT_COLUMNS:
            raise ConfigError(f"--output_schema={flags['output_schema']}: {column!r} is not one of {', '.join(OUTPUT_COLUMNS)}")
    appended = _list(flags["append_cols"])
    if not columns and not appended:
        raise ConfigError(f"--output_schema is missing: name one or more of {', '.join(OUTPUT_COLUMNS)}, joined by commas")
    scoring = _scoring(flags, label=None, kind=kind)
    for column in appended:
        if column not in scoring["columns"].names:
            raise ConfigError(f"--append_cols={flags['append_cols']}: {column!r} is not a column of --input_schema")
    return PredictSettings(outputs=flags.required("outputs"), output_columns=columns, append_columns=appended, **scoring)


def _scoring(flags: FlagValues, *, label: str | None, kind: TaskKind) -> dict[str, Any]:
    given = flags["label_enumerate_values"]
    labels = None if given is None or label is None else read_labels(given)
    return {
        "file": _tables(flags)[-1],
        "columns": _columns(flags, label=label, labels=labels, kind=kind),
        "checkpoint_dir": _checkpoint(flags.required("checkpoint_dir")),
        "labels": labels,
        "kind": kind,
        "batch_rows": flags["micro_batch_size"] if "micro_batch_size" in flags.given else BATCH_ROWS,
        "workers": _workers(flags),
        "precision": _precision(flags),
    }


def _tables(flags: FlagValues) -> list[str]:
    tables = _list(flags.required("tables"))
    for table in tables:
        if table.startswith(("odps://", "oss://")):
            raise ConfigError(f"--tables: {table} is not read; give a TSV file, local or on s3://, gs:// or hdfs://")
    return list(tables)


def _columns(flags: FlagValues, *, label: str | None, labels: tuple[str, ...] | None, kind: TaskKind) -> FileColumns:
    return FileColumns(
        schema=flags.required("input_schema"),
        first_sequence=flags.required("first_sequence"),
        second_sequence=flags["second_sequence"] or None,
        label=label,
        labels=labels,
        skip_header=flags["skip_first_line"],
        sequence_length=flags["sequence_length"],
        kind=kind,
    )


def _distillation(user: dict[str, Any]) -> tuple[ObjectiveConfig, LogitsFile | None]:
    """Training objective and the location of its logits."""
    if not user.get("enable_distillation", DEFAULTS["enable_distillation"]):
        return FineTuneConfig(), None
    for name in ("type", "logits_name", "logits_saved_path"):
        if not user.get(name):
            raise ConfigError(f"--user_defined_parameters: enable_distillation=True needs {name}=...")
    if user["type"] != "vanilla_kd":
        raise ConfigError(f"--user_defined_parameters: type={user['type']}; the kind of distillation here is vanilla_kd")
    temperature, alpha = (user.get(name, DEFAULTS[name]) for name in ("temperature", "alpha"))
    if not (math.isfinite(temperature) and temperature > 0):
        raise ConfigError(f"--user_defined_parameters: temperature={temperature:g}; a temperature is above 0, mostly 1 to 10")
    if not 0 <= alpha <= 1:
        raise ConfigError(f"--user_defined_parameters: alpha={alpha:g}; the weight of the teacher's term lies in 0 to 1")
    if temperature < 1:
        log.warning("temperature=%g is below 1: it sharpens the teacher's probabilities instead of softening them", temperature)
    logits = LogitsFile(user["logits_saved_path"], user["logits_name"])
    return VanillaKDConfig(temperature=temperature, alpha=alpha), logits


def _training(flags: FlagValues, workers: Workers, *, metric: str) -> TrainingConfig:
    if flags["optimizer_type"] in ("Adam", "SGD"):
        raise ConfigError(f"--optimizer_type={flags['optimizer_type']}: allowed are AdamW and BertAdam (the same)")
    micro, accumulated = flags["micro_batch_size"], flags["gradient_accumulation_steps"]
    return TrainingConfig(
        epochs=flags["epoch_num"],
        batch_size=micro * accumulated * workers.count,
        micro_batch_size=micro if accumulated > 1 else None,
        learning_rate=flags["learning_rate"],
        warmup_ratio=flags["warmup_proportion"],
        weight_decay=flags["weight_decay"],
        max_grad_norm=flags["max_grad_norm"],
        evaluate_every=flags["save_checkpoint_steps"],
        checkpoint_steps=flags["save_checkpoint_steps"],
        log_every=flags["logging_steps"],
        metric=metric,
        **({"keep_evaluated": True} if flags["save_all_checkpoints"] else {}),
    )


def _model(user: dict[str, Any]) -> str:
    name = user.get("pretrain_model_name_or_path")
    if not name:
        raise ConfigError(
            "--user_defined_parameters: pretrain_model_name_or_path=MODEL is missing; give a folder or a model's name"
        )
    return resolve_model(name)


def _checkpoint(path: str) -> str:
    if not storage.is_dir(path):
        raise ConfigError(f"--checkpoint_dir={path} is not a folder; give one that --mode=train has made, or any classifier's")
    refuse_unimported(path)
    return path


def _workers(flags: FlagValues) -> Workers:
    gpus = flags["worker_gpu"]
    return Workers(flags["worker_count"] * max(gpus, 1), gpu=gpus >= 1)


def _precision(flags: FlagValues) -> Precision:
    return "bf16" if flags["use_amp"] else "fp32"


def _list(text: str | None) -> tuple[str, ...]:
    return tuple(piece for piece in (text or "").split(",") if piece)
