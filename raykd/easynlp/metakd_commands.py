"""``meta_teacher_train``, ``meta_student_distill``, ``main_evaluate``: their flags in terms of ``easynlp``, on their rows."""

import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from raykd.data import storage
from raykd.easynlp.flags import FlagValues
from raykd.easynlp.folder import WORK
from raykd.easynlp.labels import read_labels
from raykd.easynlp.metakd_rows import MetaRows, check_training_row, copy_rows
from raykd.easynlp.metakd_settings import MetaSettings, read_meta_settings
from raykd.easynlp.settings import PredictSettings, ScoreSettings, TrainSettings, read_settings
from raykd.errors import ConfigError

log = logging.getLogger(__name__)


def run_script(script: str, arguments: Sequence[str]) -> None:
    """Run a script with its arguments. Raises RaykdError for anything a user can cause."""
    meta, flags = read_meta_settings(script, arguments)
    mode = "evaluate" if script == "main_evaluate" and flags["mode"] != "predict" else flags["mode"]
    if mode == "train":
        _train(script, meta, flags)
    else:
        _score(script, meta, flags, mode)


def _train(script: str, meta: MetaSettings, flags: FlagValues) -> None:
    from raykd.easynlp.metakd_train import MetaTraining
    from raykd.easynlp.train import run_training

    tables = flags.required("tables").split(",")
    checkpoint_dir = storage.absolute(flags.required("checkpoint_dir"))
    folder = storage.join(checkpoint_dir, WORK, "rows")
    files = [storage.join(folder, name) for name in ("train.tsv", "dev.tsv")]
    second = flags["second_sequence"] or None
    check = check_training_row(meta, flags["label_name"], read_labels(flags["label_enumerate_values"]))
    train = copy_rows(tables[0], files[0], meta, second=second, check=check)
    rows = [train, copy_rows(tables[-1], files[1], meta, second=second, check=check)]
    settings = _settings(flags, "train", rows, f"pretrain_model_name_or_path={meta.model}" if meta.model else "")
    assert isinstance(settings, TrainSettings)
    if meta.stage == "first":  # nothing to select by: a student's classifier is not trained yet
        settings = replace(settings, dev_file=None)
    run_training(MetaTraining(settings, script=script, meta=meta, rows=train), flags)


def _score(script: str, meta: MetaSettings, flags: FlagValues, mode: str) -> None:
    from raykd.easynlp.score import evaluate, predict

    folder = _scored_folder(script, meta, flags)
    log.info("Scoring %s on %s", folder, f"the domain {meta.genre}" if meta.genre else "all domains")
    table = flags.required("tables").split(",")[-1]
    with _beside(folder if mode == "evaluate" else flags.required("outputs")) as work:
        second = flags["second_sequence"] or None
        rows = copy_rows(table, storage.join(work, "rows.tsv"), meta, second=second, every_domain=mode == "predict")
        settings = _settings(flags, mode, [rows], "", checkpoint_dir=folder)
        if isinstance(settings, PredictSettings):
            predict(settings)
        elif isinstance(settings, ScoreSettings):
            evaluate(settings)


def _scored_folder(script: str, meta: MetaSettings, flags: FlagValues) -> str:
    """Folder of the model: main_evaluate takes the model it is given, else checkpoint_dir; the others take checkpoint_dir."""
    if script == "main_evaluate" and meta.model:
        return meta.model
    folder: str | None = flags["checkpoint_dir"]
    if not folder:
        raise ConfigError("--checkpoint_dir is missing: it, or pretrain_model_name_or_path=DIR, is the model to score")
    return folder


def _settings(flags: FlagValues, mode: str, rows: Sequence[MetaRows], user: str, **changes: str) -> Any:
    """Flags of ``easynlp`` for rows in files without header."""
    paired = any(one.paired for one in rows)
    values: dict[str, Any] = {name: flags[name] for name in flags.given} | changes
    values |= {"mode": mode, "tables": ",".join(one.path for one in rows), "user_defined_parameters": user}
    values |= {"skip_first_line": False, "second_sequence": values.get("second_sequence") if paired else None}
    return read_settings([f"--{name}={value}" for name, value in values.items() if value is not None])[0]


@contextmanager
def _beside(path: str) -> Iterator[str]:
    """A temporary folder next to a command's input or output, deleted after the block."""
    parent = storage.absolute(path).rstrip("/").rpartition("/")[0]
    work = storage.join(parent, f".raykd-{uuid.uuid4().hex[:12]}")
    try:
        yield work
    finally:
        storage.remove(work)
