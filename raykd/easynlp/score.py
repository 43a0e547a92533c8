"""``--mode=evaluate`` and ``--mode=predict``: logits of a trained model on a file, then metrics or lines."""

import logging
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from raykd.data import storage
from raykd.data.prepare import prepare
from raykd.data.side_tables import SideTable
from raykd.data.tokenised_set import TokenisedSet
from raykd.easynlp.columns import FileColumns, check_file
from raykd.easynlp.console import inference_line, metric_lines
from raykd.easynlp.labels import read_mapping
from raykd.easynlp.output import PredictionFormat, write_predictions
from raykd.easynlp.ray_workers import connected
from raykd.easynlp.settings import PredictSettings, ScoreSettings
from raykd.errors import ConfigError
from raykd.models import check_sequence_length, label_names, load_config
from raykd.predict import ScoreJob
from raykd.report.load_tables import load_labels, load_logits
from raykd.run.scoring import score_models
from raykd.task_kinds import MULTI_LABEL, TaskKind, task_kind_of_model

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ScoredRows:
    """Rows and their logits."""

    prepared: TokenisedSet
    side: SideTable
    seconds: float
    """Seconds from the start of the model to the last row."""


def evaluate(settings: ScoreSettings) -> None:
    """Print the metrics of the model on the file. Raises RaykdError for anything a user can cause."""
    labels, kind = _labels(settings)
    columns = replace(settings.columns.fitted(settings.file), labels=labels, kind=kind)
    with _scored(settings, columns, work_folder=settings.checkpoint_dir) as scored:
        metrics = kind.measure(load_labels(scored.prepared.path), load_logits(scored.side.path), labels)
        log.info("%s", inference_line(scored.seconds, scored.prepared.num_rows))
        for line in metric_lines(metrics):
            log.info("%s", line)


def predict(settings: PredictSettings) -> None:
    """Write the prediction file. Raises RaykdError for anything a user can cause."""
    labels, kind = _labels(settings)
    form = PredictionFormat(labels, settings.output_columns, settings.append_columns, kind=kind)
    columns = settings.columns.fitted(settings.file, also=settings.append_columns)
    with _scored(settings, columns, work_folder=os.path.dirname(storage.absolute(settings.outputs))) as scored:
        rows = write_predictions(
            settings.outputs, form, scored.prepared, scored.side, schema=columns.schema, skip_header=columns.skip_header
        )
    log.info("%d rows predicted to %s", rows, settings.outputs)


def _labels(settings: ScoreSettings) -> tuple[tuple[str, ...], TaskKind]:
    """Labels of the checkpoint in the order of their ids, and its kind of task.

    Raises DataError without the file to score; ConfigError when other labels were given, or several a row for a checkpoint of
    one a row.
    """
    check_file(settings.file, "--tables")
    config = load_config(settings.checkpoint_dir)
    kind = task_kind_of_model(config)
    if settings.kind is MULTI_LABEL and kind is not MULTI_LABEL:
        raise ConfigError(
            f"{settings.checkpoint_dir} was trained for one label a row, but --app_name or multi_label=True asks for any "
            "number; leave that out, or give the folder of a multi-label training"
        )
    check_sequence_length(config, settings.columns.sequence_length, model=settings.checkpoint_dir)
    labels = read_mapping(settings.checkpoint_dir) or label_names(config)
    if settings.labels is not None and settings.labels != labels:
        raise ConfigError(
            f"--label_enumerate_values gives {list(settings.labels)}, but {settings.checkpoint_dir} was trained for "
            f"{list(labels)}; give those, in this order, or leave the flag out"
        )
    return labels, kind


@contextmanager
def _scored(settings: ScoreSettings, columns: FileColumns, *, work_folder: str) -> Iterator[ScoredRows]:
    """Logits of all rows, in a temporary folder inside ``work_folder``, deleted after the block."""
    work = storage.join(storage.absolute(work_folder), f".raykd-{uuid.uuid4().hex[:12]}")
    try:
        with connected(settings.workers, settings.precision) as compute:
            prepared = prepare(columns.spec(settings.file, settings.checkpoint_dir), storage.join(work, "cache"))
            job = ScoreJob(settings.checkpoint_dir, prepared.path, storage.join(work, "logits"))
            before = time.perf_counter()
            (side,) = score_models([job], compute, batch_rows=settings.batch_rows)
            yield ScoredRows(prepared, side, time.perf_counter() - before)
    finally:
        storage.remove(work)
